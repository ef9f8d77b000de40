"""Inside: what each layer makes of the image, and everything about one of its channels."""

import numpy as np
import panel as pn

from convnets.explorer import plots

SHOWN = 64  # channels of a layer at once


class Inside:
    """The layers of one network. side: the side.Side that they belong to."""

    def __init__(self, side):
        self.side, network = side, side.network
        self.outputs, self._first, self._making, self._mapped = {}, 0, None, None
        self.layer = pn.widgets.Select(name="Layer", options=network.layers, value=side.layer, width=200)
        self.channel = pn.widgets.Select(name="Channel", options=[side.channel], value=side.channel, width=100)
        self.strip = plots.Grid(
            f"strip{side.number}", "Layers, from the image to the answer: click one", on_pick=self._pick_layer
        )
        self.maps = plots.Grid(f"maps{side.number}", on_pick=lambda number: self._pick(number + self._first))
        self.map = plots.Grid(f"map{side.number}", on_move=self._field, on_leave=lambda: side.answer.input.mark(None))
        self.filter = plots.Grid(f"filter{side.number}")
        self.made = plots.Grid(
            f"made{side.number}",
            "Images made for the channels: click one",
            on_pick=lambda n: self._pick(n + self._first),
        )
        self.real = plots.Grid(f"real{side.number}", on_pick=lambda place: side.page.chooser.go_to(self._real[place]))
        self.about = plots.Text()
        side.page.background.when(self.layer, self._layer_chosen)
        side.page.background.when(self.channel, self._channel_chosen)
        self.view = pn.Column(
            pn.Row(self.layer, self.channel),
            self.about,
            plots.flow(
                self.strip.plot, self.maps.plot, self.map.plot, self.made.plot, self.real.plot, self.filter.plot
            ),
        )

    def update(self):
        """Show the layers for another image."""
        image = self.side.image
        self.side.start("layers", lambda: self.side.network.outputs(image), self._show_outputs)

    def _show_outputs(self, outputs):
        self.outputs = outputs
        cells, labels = [], []
        for name, values in outputs.items():
            if values.ndim == 3:
                strongest = np.argsort(-np.abs(values).max(axis=(0, 1)), kind="stable")[:1]
                cells.append(_thumbnail(values[..., strongest[0]]))
            else:
                cells.append(_thumbnail(values[None, :]))
            labels.append(name)
        self.strip.show(np.stack(cells), labels=labels, columns=4)
        self._show_layer()

    def _layer_chosen(self):
        self.side.layer = self.layer.value
        if self.outputs:
            self._show_layer()

    def _show_layer(self):
        name, values = self.layer.value, self.outputs[self.layer.value]
        count = values.shape[-1]
        self.channel.param.update(options=list(range(count)), value=min(self.channel.value, count - 1))
        self.strip.mark(self.side.network.layers.index(name))
        self._show_maps()
        self._show_channel()
        self._make()

    def _show_maps(self):
        values = self.outputs[self.layer.value]
        self._first = self.channel.value // SHOWN * SHOWN
        part = values[..., self._first : self._first + SHOWN]
        labels = [str(number + self._first) for number in range(part.shape[-1])]
        if values.ndim == 3:
            maps = part.transpose(2, 0, 1)
            limit = np.abs(maps).max(axis=(1, 2), keepdims=True)
        else:  # a unit is one number: all share a scale
            maps, limit = np.repeat(np.repeat(part[:, None, None], 8, axis=1), 8, axis=2), np.abs(values).max()
        shown = f"channels {self._first} to {self._first + len(maps) - 1}" if values.shape[-1] > SHOWN else "channels"
        self.maps.show(plots.diverging(maps, limit), title=f"{self.layer.value}: {shown}", labels=labels)

    def _pick_layer(self, number):
        self.layer.value = self.side.network.layers[number]

    def _pick(self, number):
        self.channel.value = min(number, self.channel.options[-1])

    def _channel_chosen(self):
        self.side.channel = self.channel.value
        if self.outputs:
            if self.channel.value // SHOWN * SHOWN != self._first:
                self._show_maps()
                self._make()
            self._show_channel()

    def _show_channel(self):
        network, layer, channel = self.side.network, self.layer.value, self.channel.value
        values = self.outputs[layer]
        for grid in (self.maps, self.made):
            grid.mark(channel - self._first)
        is_map = values.ndim == 3
        one = values[..., channel] if is_map else values[None, [channel]]
        self.map.plot.visible = is_map
        self.map.show(plots.diverging(one[None]), title=f"{layer}, channel {channel} on this image")
        self._mapped = layer
        filters = network.filters(layer, channel)
        self.filter.plot.visible = filters is not None
        if filters is not None:
            title = f"Its filter: {' x '.join(map(str, filters.shape[1:3]))} weights for each input channel"
            self.filter.show(plots.diverging(filters), title=title)
        self.real.show(np.zeros((0, 1, 1), "uint32"), title="Real images that activate it most ...")
        self.about.say(f"{layer}, channel {channel}: {one.max():.3g} at most on this image.")
        self.side.start(
            "channel", lambda: (network.strongest(layer, channel), network.dead, network.fields), self._show_found
        )

    def _show_found(self, found):
        self._real, dead, fields = found
        network, layer, channel = self.side.network, self.layer.value, self.channel.value
        self.real.plot.visible = bool(self._real)
        if self._real:
            title = "Real images that activate it most: click one"
            self.real.show(plots.rgba(network.run.dataset.x_test[self._real]), title=title)
        if layer in fields:
            height, width = fields[layer].most
            self.about.add(f"\nEach place sees {height} x {width} pixels: move the mouse over it.")
        if channel in dead.get(layer, ()):
            self.about.add("\nDead: no test image of a sample activates it.")

    def _field(self, number, row, column):
        """Frame the pixels of the image that a place of the map sees."""
        fields = self.side.network.fields
        if self._mapped in fields:
            self.side.answer.input.mark(0, fields[self._mapped].box(row, column))

    def _make(self):
        network, layer, first = self.side.network, self.layer.value, self._first
        count = min(SHOWN, self.outputs[layer].shape[-1] - first)
        if (layer, first) == self._making:  # they do not depend on the image
            return
        self._making = layer, first
        self.made.plot.visible = layer in network.with_units
        if layer not in network.with_units:
            self.side.stop("made")
            return
        height, width, _ = self.side.image.shape
        cells = np.zeros((count, height, width), "uint32")
        labels = [str(number + first) for number in range(count)]
        self.made.show(cells, labels=labels)

        def show(part):
            channel, image = part
            cells[channel - first] = plots.rgba(image)
            self.made.show(cells, labels=labels)
            self.made.mark(self.channel.value - first)

        self.side.start(
            "made", lambda: network.made(layer, self.channel.value, range(first, first + count)), show, slow=True
        )


def _thumbnail(values, side=16):
    """Return a map (h, w) in colours, at a fixed size, its nearest pixels."""
    rows = np.arange(side) * values.shape[0] // side
    columns = np.arange(side) * values.shape[1] // side
    small = values[rows][:, columns]
    return plots.diverging(small)
