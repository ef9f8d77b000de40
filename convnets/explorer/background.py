"""Work that takes longer than a moment, beside the page, so that the page stays quick."""

import concurrent.futures
import threading
import traceback
from collections import defaultdict

from panel.io.state import set_curdoc

from convnets.errors import UserError

_QUICK = concurrent.futures.ThreadPoolExecutor(2, "quick")  # what a reader waits for after a click
_SLOW = concurrent.futures.ThreadPoolExecutor(1, "slow")  # what comes as it gets ready


class Background:
    """The work of one page. Of each kind of work, only the newest order counts: older ones stop, and show nothing.

    document: the page's bokeh.document.Document. complain(text): shows what went wrong.
    """

    def __init__(self, document, complain):
        self._document, self._complain = document, complain
        self._newest, self._lock = defaultdict(int), threading.Lock()

    def start(self, kind, compute, show, *, slow=False):
        """Call compute() in a thread, and then show(result) in the page.

        If compute is a generator function, show(part) is called for each part; after each one, the orders of other
        pages have their turn.
        """
        pool, order = _SLOW if slow else _QUICK, self.stop(kind)

        def work(parts=None):
            if self._newest[kind] != order or not self._document.session_context:  # the reader has moved on, or left
                return
            try:
                result = compute() if parts is None else next(parts, None)
            except UserError as error:
                self._in_page(kind, order, self._complain, f"{error}.")
            except Exception:
                traceback.print_exc()
                self._in_page(kind, order, self._complain, "This could not be computed; the terminal says why.")
            else:
                if hasattr(result, "__next__"):
                    pool.submit(work, result)
                elif parts is None or result is not None:
                    self._in_page(kind, order, show, result)
                    if parts is not None:
                        pool.submit(work, parts)

        pool.submit(work)

    def when(self, changed, call, names="value"):
        """Call call() soon after a param.Parameterized, a widget perhaps, has changed. names: of its parameters."""
        changed.param.watch(lambda event: self.soon(call), names)

    def soon(self, show, *, milliseconds=0):
        """Call show() after some time, at least when the page is free; what it adds is sent in one piece."""
        self._in_page("soon", self._newest["soon"], lambda _: show(), None, milliseconds)

    def stop(self, kind):
        """Let a kind of work end, and show nothing more. Returns the number of the next order."""
        with self._lock:
            self._newest[kind] += 1
            return self._newest[kind]

    def _in_page(self, kind, order, show, result, milliseconds=0):
        def call():
            if self._newest[kind] != order:
                return
            self._document.hold("combine")  # else Panel and Bokeh send their messages in two queues, new plots last
            try:
                # Else Panel may reuse the style sheets of another page, which Bokeh refuses.
                with set_curdoc(self._document):
                    try:
                        show(result)
                    except Exception:
                        traceback.print_exc()
                        self._complain("This could not be shown; the terminal says why.")
            finally:
                self._document.unhold()

        if milliseconds:
            self._document.add_timeout_callback(call, milliseconds)
        else:
            self._document.add_next_tick_callback(call)
