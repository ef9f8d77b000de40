"""The one place for what TensorFlow, JAX and PyTorch do each in their own way: gradients and compiled functions."""

import keras
import numpy as np

from convnets.errors import UserError


def with_gradient(function):
    """Makes of `function` another one that returns its gradient, too, on any backend that has them.

    function: takes a batch of arrays (n, ...), and perhaps constants; returns (n,): a score for each of the batch.
    Returns a function of the same float32 numpy arrays that returns (scores (n,), gradients by the first array
    (n, ...)), both numpy; it is compiled at its first call for each shape, where the backend compiles.
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
