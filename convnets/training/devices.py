"""Spread one training over several devices with Keras's own data parallelism."""

import keras

from convnets.errors import UserError
from convnets.training.batches import TestBatches


def spread(count, batch_size, dataset):
    """Give each of the first `count` devices an equal share of each batch, for networks built from now on.

    Keras can do that on JAX. Each device has all weights. Sums over a batch are rounded in another order, so the result
    is the same but for rounding. count: None for one device, without any change.
    Raises UserError on other backends, if there are fewer devices, or if a batch does not divide evenly.
    """
    if count is None:
        return
    if keras.backend.backend() != "jax":
        raise UserError("--devices needs JAX: pip install -r requirements-backends.txt, and set KERAS_BACKEND=jax")
    devices = keras.distribution.list_devices()
    if count > len(devices):
        raise UserError(f"--devices {count}: there are only {len(devices)} ({', '.join(devices)})")
    tested = TestBatches(dataset.x_test, dataset.y_test).batch_size
    for images, size in ((len(dataset.x_train), batch_size), (len(dataset.x_test), tested)):
        for of_a_batch in {min(size, images), images % size}:
            if of_a_batch % count:  # JAX would refuse it, but only amid the training
                raise UserError(
                    f"--devices {count}: batches of {size} among {images} images leave one of {of_a_batch}, which does "
                    "not divide evenly: name another number of devices, or another --batch-size for the training images"
                )
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[:count]))
    print(f"Devices: {', '.join(devices[:count])}, {batch_size // count} images of each batch on each")
