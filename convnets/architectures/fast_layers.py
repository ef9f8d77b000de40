"""Layers of fast_model.py that compute the same as Keras's own, but faster on a CPU."""

import keras
from keras import ops

from convnets import backend


@keras.saving.register_keras_serializable(package="convnets")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization of feature maps, (n, height, width, channels), with TensorFlow's fused operation.

    Keras computes mean, variance, differences and products one after the other, each in a pass over memory, and always
    in float32. On other backends, and for other inputs and settings, this is Keras's layer itself.
    """

    def call(self, inputs, training=None, mask=None):
        by_channel = len(inputs.shape) == 4 and self.axis in (-1, 3)
        plain = mask is None and not self.synchronized and not self.renorm
        if keras.backend.backend() != "tensorflow" or not by_channel or not plain:
            return super().call(inputs, training=training, mask=mask)
        if not (training and self.trainable):
            moving = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
            return backend.fused_batch_normalization(inputs, self.gamma, self.beta, self.epsilon, *moving)[0]
        normalized, mean, variance = backend.fused_batch_normalization(inputs, self.gamma, self.beta, self.epsilon)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return normalized

    def _move(self, average, value):
        average.assign(average * self.momentum + value * (1 - self.momentum))


@keras.saving.register_keras_serializable(package="convnets")
class Conv2D(keras.layers.Conv2D):
    """Keras's convolution, with a faster kernel gradient for many small feature maps in bfloat16.

    The gradient is a sum over all places of outer products of the input and the upstream gradient. On maps of 7x7 and
    3x3, one matrix product for each of the kernel's nine places is faster than TensorFlow's own operation in bfloat16,
    though not in float32. On other backends, and for other maps, precisions and settings, this is Keras's layer itself.
    """

    def call(self, inputs, training=None):
        plain = (self.padding, self.data_format, self.groups) == ("same", "channels_last", 1)
        plain &= self.strides == self.dilation_rate == (1, 1)
        plain &= not self.use_bias and self.activation is keras.activations.linear
        _, height, width, channels = inputs.shape
        faster = self.compute_dtype == "bfloat16" and keras.backend.backend() == "tensorflow"
        faster &= None not in (height, width) and max(height, width) <= 8 and channels >= 128
        if training and plain and faster:
            return backend.convolve(inputs, ops.convert_to_tensor(self.kernel))
        return super().call(inputs)
