"""Watch the file operations that save a run, to cut the power between them, or to end a process amid a write."""

import builtins
import contextlib
import os
from pathlib import Path
from unittest import mock

from convnets import files


@contextlib.contextmanager
def watched(folder, note):
    """Call note(what, path, content) at each file operation below a folder, within a block.

    what: "create", before the file is made; "half written", when half of the content is in the file; "write", when all
    of it is; "sync", of a file or of a folder's names; "rename", whose content is the new path; "remove"; or
    "make folder".
    An OSError that `note` raises is that of the operation.
    """
    folder = Path(folder).resolve()
    before = {name: getattr(os, name) for name in ("open", "close", "fsync", "replace", "rename", "unlink", "mkdir")}
    paths = {}  # of open file descriptors

    def tell(what, path, content=None):
        path = Path(path).absolute()
        if path.is_relative_to(folder):
            note(what, path, content)

    class Watched:
        """A file that is written."""

        def __init__(self, path, mode):
            tell("create", path)
            self.path, self.file = path, builtins.open(path, mode)  # noqa: SIM115
            paths[self.file.fileno()] = path

        def __enter__(self):
            return self

        def __exit__(self, *_):
            paths.pop(self.file.fileno())
            self.file.close()

        def write(self, content):
            content = memoryview(content)
            half = len(content) // 2
            self.file.write(content[:half])
            self.file.flush()
            tell("half written", self.path)
            self.file.write(content[half:])
            tell("write", self.path, bytes(content))

        def __getattr__(self, name):
            return getattr(self.file, name)

    def open_file(path, mode="r", **settings):
        return Watched(path, mode) if mode in ("wb", "xb") else builtins.open(path, mode, **settings)

    def open_descriptor(path, *arguments, **settings):
        descriptor = before["open"](path, *arguments, **settings)
        paths[descriptor] = path
        return descriptor

    def close(descriptor):
        paths.pop(descriptor, None)
        before["close"](descriptor)

    def fsync(descriptor):
        before["fsync"](descriptor)
        tell("sync", paths[descriptor])

    def rename(old, new, **settings):
        before["rename"](old, new, **settings)
        tell("rename", old, Path(new).absolute())

    def replace(old, new, **settings):
        before["replace"](old, new, **settings)
        tell("rename", old, Path(new).absolute())

    def unlink(path, **settings):
        before["unlink"](path, **settings)
        tell("remove", path)

    def mkdir(path, *arguments, **settings):
        before["mkdir"](path, *arguments, **settings)
        tell("make folder", path)

    instead = {"open": open_descriptor, "close": close, "fsync": fsync, "replace": replace, "rename": rename}
    with contextlib.ExitStack() as stack:
        for name, function in {**instead, "unlink": unlink, "mkdir": mkdir}.items():
            stack.enter_context(mock.patch.object(os, name, function))
        stack.enter_context(mock.patch.object(files, "open", open_file, create=True))
        yield
