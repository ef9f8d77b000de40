"""The one place for the APIs of TensorFlow, JAX and PyTorch themselves: gradients, and TensorFlow's fast operations."""

import keras
import numpy as np

from convnets.errors import UserError


def with_gradient(function):
    """Return a function that computes what `function` does, and its gradient, on any backend that has gradients.

    function: takes a batch of arrays (n, ...), and perhaps constants; returns (n,): a score for each of the batch.
    Returns a function of the same float32 numpy arrays that returns (scores (n,), gradients by the first array
    (n, ...)), both numpy. It is compiled at the first call for each shape, where the backend compiles.
    Raises UserError if the backend has no gradients.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(autograph=False)
        def scores_and_gradients(x, *constants):
            with tf.GradientTape() as tape:
                tape.watch(x)
                scores = function(x, *constants)
            return scores, tape.gradient(scores, x)

        def call(*arrays):
            scores, gradients = scores_and_gradients(*map(tf.constant, arrays))
            return scores.numpy(), gradients.numpy()

    elif backend == "jax":
        import jax

        def total(x, *constants):
            scores = function(x, *constants)
            return scores.sum(), scores

        compiled = jax.jit(jax.grad(total, has_aux=True))

        def call(*arrays):
            gradients, scores = compiled(*arrays)
            return np.asarray(scores), np.asarray(gradients)

    elif backend == "torch":
        import torch

        def call(*arrays):
            x, *constants = map(keras.ops.convert_to_tensor, arrays)
            x = x.clone().requires_grad_()
            scores = function(x, *constants)
            (gradients,) = torch.autograd.grad(scores.sum(), x)
            return keras.ops.convert_to_numpy(scores), keras.ops.convert_to_numpy(gradients)

    else:
        raise UserError(f"there are no gradients on Keras's {backend} backend: set KERAS_BACKEND=tensorflow")
    return call


# ---------------------------------------------------------------- TensorFlow only, for fast_layers


def fused_batch_normalization(inputs, gamma, beta, epsilon, mean=None, variance=None):
    """Normalise feature maps (n, height, width, channels) by channel, in one TensorFlow operation.

    gamma, beta: scale and offset, (channels,), or None. mean, variance: (channels,). Default: those of the batch.
    Returns the normalised maps, the mean, and the variance (biased, as Keras counts it).
    """
    import tensorflow as tf

    channels = inputs.shape[-1]
    normalized, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(
        inputs,
        scale=tf.ones(channels) if gamma is None else keras.ops.convert_to_tensor(gamma),
        offset=tf.zeros(channels) if beta is None else keras.ops.convert_to_tensor(beta),
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=mean is None,
    )
    n = tf.cast(tf.size(inputs) / channels, "float32")
    return normalized, batch_mean, batch_variance * (n - 1) / n


def convolve(maps, kernel):
    """Convolve with "same" padding and stride 1; the kernel's gradient is computed as matrix products."""
    import tensorflow as tf

    rows, columns, inputs, filters = kernel.shape
    height, width = maps.shape[1:3]

    @tf.custom_gradient
    def convolution(maps, kernel):
        def gradient(upstream):
            by_maps = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(maps), filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
            )
            margins = [((size - 1) // 2, size // 2) for size in (rows, columns)]
            padded = tf.pad(maps, [(0, 0), *margins, (0, 0)])
            seen = [
                tf.reshape(padded[:, row : row + height, column : column + width], (-1, inputs))
                for row in range(rows)
                for column in range(columns)
            ]
            upstream = tf.reshape(upstream, (-1, filters))
            by_kernel = tf.stack([tf.matmul(part, upstream, transpose_a=True) for part in seen])
            return by_maps, tf.reshape(by_kernel, kernel.shape)

        return tf.nn.conv2d(maps, kernel, 1, "SAME"), gradient

    return convolution(maps, tf.convert_to_tensor(kernel))
