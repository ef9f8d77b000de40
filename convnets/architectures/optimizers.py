"""Muon, the optimizer of fast_model.py."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="convnets")
class Muon(keras.optimizers.SGD):
    """Muon for convolution kernels, Nesterov momentum for all other weights.

    The gradient of a convolution, as a matrix with a column for each filter, has a few large singular values and many
    small ones: gradient descent moves along the few. Muon sets all of them to about 1, so that every direction moves.
    (Keras's own Muon leaves convolutions out.) Before a batch normalization only the direction of a filter counts, so
    each step first rescales a layer's filters to a mean square length of 1: the same learning rate then means the same
    change of direction from the first step to the last.

    learning_rate, momentum: of the convolutions. The former is a number or a schedule, which all weights follow.
    dense_factor, offset_factor: the learning rates of dense kernels and of one-dimensional weights (the offsets of
    batch normalizations), as multiples of learning_rate. other_momentum: theirs.
    weight_decay: as in Keras's other optimizers: the share by which a weight shrinks in each step, times the learning
    rate. It has no effect on convolutions, for the reason above.

    Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the factors and momenta
    are near those of K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024.
    """

    def __init__(
        self, learning_rate=0.24, *, momentum=0.6, dense_factor=7.0, offset_factor=440.0, other_momentum=0.85, **more
    ):
        if not momentum:
            raise ValueError("Muon needs a momentum above 0")
        super().__init__(learning_rate, momentum=momentum, nesterov=True, **more)
        self.dense_factor, self.offset_factor, self.other_momentum = dense_factor, offset_factor, other_momentum

    def update_step(self, gradient, variable, learning_rate):
        is_convolution = len(variable.shape) == 4
        beta = self.momentum if is_convolution else self.other_momentum
        momentum = self.momentums[self._get_variable_index(variable)]
        self.assign(momentum, beta * momentum + gradient)
        step = beta * momentum + gradient  # Nesterov's look ahead
        if is_convolution:
            filters = variable.shape[-1]
            length = ops.sqrt(ops.sum(ops.square(variable)) / filters)
            # The precision of the network is enough, since the singular values become equal only roughly.
            matrix = ops.cast(ops.reshape(step, (-1, filters)), keras.config.dtype_policy().compute_dtype)
            step = ops.cast(ops.reshape(orthogonalize(matrix), variable.shape), variable.dtype)
            self.assign(variable, variable / length - learning_rate * step)
        else:
            factor = self.dense_factor if len(variable.shape) == 2 else self.offset_factor
            self.assign(variable, variable - learning_rate * factor * step)

    def get_config(self):
        config = super().get_config()
        config.pop("nesterov")
        settings = ("dense_factor", "offset_factor", "other_momentum")
        return {**config, **{name: getattr(self, name) for name in settings}}


def orthogonalize(matrix, steps=3):
    """Return a matrix with the same singular vectors, whose singular values are all about 1.

    matrix: (m, n). Each step of the Newton-Schulz iteration applies the polynomial 3.4445 s - 4.775 s^3 + 2.0315 s^5 to
    all singular values s at once. It raises small ones fast, and keeps large ones between 0.7 and 1.2. (Three steps
    raise 1 % of the matrix's norm to 0.4, and 2 % to 0.75, which is enough.)
    """
    wide = matrix.shape[0] < matrix.shape[1]
    x = matrix if wide else ops.transpose(matrix)
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(steps):
        squared = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(2.0315 * ops.matmul(squared, squared) - 4.775 * squared, x)
    return x if wide else ops.transpose(x)
