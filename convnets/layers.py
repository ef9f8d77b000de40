"""Layers of fast_model.py that compute what Keras's own do, in fewer passes over memory."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="convnets")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization of feature maps, (n, height, width, channels), with TensorFlow's fused operation.

    Keras computes mean, variance, differences and products one after the other, in float32 whatever the precision:
    on a CPU that takes as long as the convolutions. The fused operation also takes in a ReLU that follows.
    On other backends, and for other inputs, this is Keras's layer itself.
    """

    def call(self, inputs, training=None, mask=None):
        if keras.backend.backend() != "tensorflow" or len(inputs.shape) != 4 or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = inputs.shape[-1]
        ones, zeros = tf.ones(channels), tf.zeros(channels)
        training = bool(training) and self.trainable
        normalized, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            scale=ones if self.gamma is None else ops.convert_to_tensor(self.gamma),
            offset=zeros if self.beta is None else ops.convert_to_tensor(self.beta),
            mean=None if training else ops.convert_to_tensor(self.moving_mean),
            variance=None if training else ops.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            n = tf.cast(tf.size(inputs) / channels, "float32")
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance * (n - 1) / n)  # it is the unbiased one, Keras's is not
        return normalized

    def _move(self, average, value):
        average.assign(average * self.momentum + value * (1 - self.momentum))
