"""Muon, the optimizer of fast_model.py."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="convnets")
class Muon(keras.optimizers.SGD):
    """Momentum with steps of one size in every direction for convolutions, Nesterov's momentum for all other weights.

    The gradient of a convolution, as a matrix with a column for each filter, has few large singular values and many
    small ones: plain descent moves along the few. Muon makes all of them about 1, so that no direction has to wait.
    (Keras's own Muon leaves convolutions out.) A filter in front of a batch normalization counts by its direction
    only, so each step first brings the filters of a layer back to a mean square length of 1: the learning rate is
    then the same change of direction from the first step to the last.

    learning_rate: of the convolutions, a number or a schedule.
    momentum: of the convolutions.
    other_learning_rate, other_momentum: of the dense layer and the batch normalizations' offsets; the former as a
    multiple of learning_rate.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, learning_rate, *, momentum=0.6, other_learning_rate=10.0, other_momentum=0.85, **more):
        super().__init__(learning_rate, momentum=momentum, nesterov=True, **more)
        self.other_learning_rate = other_learning_rate
        self.other_momentum = other_momentum

    def update_step(self, gradient, variable, learning_rate):
        is_convolution = len(variable.shape) == 4
        beta = self.momentum if is_convolution else self.other_momentum
        momentum = self.momentums[self._get_variable_index(variable)]
        self.assign(momentum, beta * momentum + gradient)
        step = beta * momentum + gradient  # Nesterov's look ahead
        if is_convolution:
            filters = variable.shape[-1]
            length = ops.sqrt(ops.sum(ops.square(variable)) / filters)
            step = ops.reshape(orthogonalized(ops.reshape(step, (-1, filters))), variable.shape)
            self.assign(variable, variable / length - learning_rate * step)
        else:
            self.assign(variable, variable - learning_rate * self.other_learning_rate * step)

    def get_config(self):
        config = super().get_config()
        config.pop("nesterov")
        return {
            **config,
            "other_learning_rate": self.other_learning_rate,
            "other_momentum": self.other_momentum,
        }


def orthogonalized(matrix, steps=3):
    """A matrix of the same singular vectors whose singular values are, roughly, all 1.

    matrix: (m, n). Each step of the Newton-Schulz iteration puts every singular value s at once through the
    polynomial 3.4445 s - 4.775 s^3 + 2.0315 s^5, which lifts small ones fast and keeps them all near 1.
    (Three steps leave the singular values that were below 2 % of the matrix's norm below 0.6; it is enough.)
    """
    wide = matrix.shape[0] < matrix.shape[1]
    x = matrix if wide else ops.transpose(matrix)
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(steps):
        squared = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(2.0315 * ops.matmul(squared, squared) - 4.775 * squared, x)
    return x if wide else ops.transpose(x)
