"""The peers of fast_model.py in benchmarks/fast_training.py: its network and airbench94's recipes in plain PyTorch.

The recipes are those of airbench94.py and airbench94_muon.py (K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single
GPU", 2024, and the code published with it), with the same hyperparameters. They are rewritten for a CPU: bfloat16
instead of float16, channels last, not compiled. They also run on a GPU, and compiled, if asked to.
"""

import math
import time

import torch
from torch import nn
from torch.nn import functional as F

from convnets.data import datasets

FILTERS = (64, 256, 256)
LABEL_SMOOTHING = 0.2


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization with an offset but no scale."""

    def __init__(self, channels):
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad = False


def conv(inputs, filters):
    layer = nn.Conv2d(inputs, filters, 3, padding="same", bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer


def build_model(activation, logit_scale):
    layers, inputs = [nn.Conv2d(3, 24, 2), activation()], 24
    layers[0].weight.requires_grad = False
    for filters in FILTERS:
        layers += [conv(inputs, filters), nn.MaxPool2d(2), BatchNorm(filters), activation()]
        layers += [conv(filters, filters), BatchNorm(filters), activation()]
        inputs = filters
    head = nn.Linear(inputs, 10, bias=False)
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), head, Scale(logit_scale))


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def whiten(layer, images):
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).float()
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (directions / torch.sqrt(variances + 5e-4)).T.reshape(12, 3, 2, 2)
    layer.weight.data[:] = torch.cat([filters, -filters])
    layer.bias.data.zero_()


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.6):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
                step = weight.grad.add(momentum, alpha=group["momentum"])
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.sub_(orthogonalize(step.reshape(len(step), -1)).view_as(step), alpha=group["lr"])


def orthogonalize(matrix, steps=3):
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        squared = x @ x.T
        x = 3.4445 * x + (2.0315 * squared @ squared - 4.775 * squared) @ x
    return x.T if tall else x


class Images:
    """Normalized CIFAR-10: each image is flipped in every other epoch, and shifted by up to two pixels."""

    def __init__(self, device="cpu"):
        dataset = datasets.load("cifar10")
        mean, deviation = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])

        def prepared(images):
            images = ((torch.from_numpy(images) / 255 - mean) / deviation).permute(0, 3, 1, 2)
            return images.to(device).contiguous(memory_format=torch.channels_last)

        self.train, self.test = prepared(dataset.x_train), prepared(dataset.x_test)
        self.y_train, self.y_test = (torch.from_numpy(y).to(device) for y in (dataset.y_train, dataset.y_test))
        half = torch.rand(len(self.train), device=device) < 0.5
        flipped = torch.where(half.view(-1, 1, 1, 1), self.train.flip(-1), self.train)
        self.padded = F.pad(flipped, (2,) * 4, "reflect")

    def epoch(self, epoch, batch_size):
        shifts = torch.randint(0, 5, (2, len(self.padded)), device=self.train.device)
        images = torch.empty_like(self.train)
        for down in range(5):
            for right in range(5):
                same = (shifts[0] == down) & (shifts[1] == right)
                images[same] = self.padded[same, :, down : down + 32, right : right + 32]
        images = images.flip(-1) if epoch % 2 else images
        order = torch.randperm(len(images), device=images.device)
        for batch in range(len(images) // batch_size):
            chosen = order[batch * batch_size : (batch + 1) * batch_size]
            yield images[chosen].contiguous(memory_format=torch.channels_last), self.y_train[chosen]


@torch.no_grad()
def accuracies(model, images):
    """Return the test accuracy without and with test-time augmentation: the recipes' weighted mean over six views."""
    model.eval()

    def logits(views):
        with torch.autocast(views.device.type, torch.bfloat16):
            return torch.cat([model(batch).float() for batch in views.split(1000)])

    def with_flips(views):
        return (logits(views) + logits(views.flip(-1))) / 2

    padded = F.pad(images.test, (1,) * 4, "reflect")
    plain = logits(images.test)
    shifted = (with_flips(padded[:, :, :32, :32]) + with_flips(padded[:, :, 2:, 2:])) / 2
    views = with_flips(images.test) / 2 + shifted / 2
    return [(answers.argmax(1) == images.y_test).double().mean().item() for answers in (plain, views)]


def optimizers_of(model, recipe, batch_size, steps, bias_steps):
    """Return the recipe's optimizers, and a function that sets their learning rates for a step."""
    convolutions = [p for p in model.parameters() if p.ndim == 4 and p.requires_grad]
    offsets = [module.bias for module in model.modules() if isinstance(module, BatchNorm)]
    bias, head = model[0].bias, model[-2].weight
    if recipe == "muon":
        decay, rate, head_rate = 2e-6 * batch_size, 0.053, 0.67
        groups = [
            {"params": [bias], "lr": rate, "weight_decay": decay / rate},
            {"params": offsets, "lr": rate, "weight_decay": decay / rate},
            {"params": [head], "lr": head_rate, "weight_decay": decay / head_rate},
        ]
        optimizers = [torch.optim.SGD(groups, momentum=0.85, nesterov=True), Muon(convolutions, 0.24)]
    else:
        scale = 1024 * (1 + 1 / (1 - 0.85))
        rate, decay = 11.5 / scale, 0.0153 * batch_size / scale
        groups = [
            {"params": [bias, *convolutions, head], "lr": rate, "weight_decay": decay / rate},
            {"params": offsets, "lr": 64 * rate, "weight_decay": decay / (64 * rate)},
        ]
        optimizers = [torch.optim.SGD(groups, momentum=0.85, nesterov=True)]
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    initial = [group["lr"] for group in groups]

    def set_rates(step):
        peak = int(0.23 * steps)
        for number, (group, rate) in enumerate(zip(groups, initial, strict=True)):
            if recipe == "muon":
                share = 1 - step / (steps if number else bias_steps)
            else:
                share = 0.2 + 0.8 * step / peak if step < peak else 1 - 0.93 * (step - peak) / (steps - peak)
            group["lr"] = rate * max(share, 0)

    return optimizers, set_rates


class Lookahead:
    """Pull the weights towards their moving average (Zhang et al., "Lookahead Optimizer", 2019)."""

    def __init__(self, model):
        self.model, self.average = model, {name: value.clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, decay):
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                value.copy_(self.average[name].lerp_(value, 1 - decay))


def compiled_network(model, images):
    """Return a network compiled by torch.compile, ready to train and to predict. Its averages stay as they are."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fast = torch.compile(model)
    for bias in (True, False):
        model[0].bias.requires_grad = bias
        with torch.autocast(images.device.type, torch.bfloat16):
            fast(images).sum().backward()
    model.zero_grad(set_to_none=True)
    model.load_state_dict(before)
    return fast


def train(recipe, seed, epochs=None, device="cpu", compiled=False):
    """Train airbench94's network by one of its recipes, to the end or for some epochs.

    recipe: "nesterov" or "muon". Weights are float32, computations bfloat16. device: "cpu" or "cuda".
    compiled: whether by torch.compile, before the seconds begin. Returns a dict of results.
    """
    torch.manual_seed(seed)
    images = Images(device)
    batch_size, all_epochs = (2000, 8) if recipe == "muon" else (1024, 9.9)
    steps_an_epoch = len(images.train) // batch_size
    steps = math.ceil(all_epochs * steps_an_epoch)
    model = build_model(nn.GELU, 1 / 256 if recipe == "muon" else 1 / 9)
    if recipe == "muon":
        model[-2].weight.data /= model[-2].weight.data.std()
    whiten(model[0], images.train[:5000].cpu())
    model = model.to(device, memory_format=torch.channels_last)
    optimizers, set_rates = optimizers_of(model, recipe, batch_size, steps, 3 * steps_an_epoch)
    first = model[0]
    if compiled:
        model = compiled_network(model, images.train[:batch_size])
    lookahead, step, seconds = None, 0, 0.0
    last = steps if epochs is None else min(steps, epochs * steps_an_epoch)
    for epoch in range(math.ceil(last / steps_an_epoch)):
        model.train()
        started = time.perf_counter()
        first.bias.requires_grad = epoch < 3
        for x, y in images.epoch(epoch, batch_size):
            set_rates(step)
            with torch.autocast(device, torch.bfloat16):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), y, label_smoothing=LABEL_SMOOTHING, reduction="sum")
            model.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            step += 1
            if recipe == "nesterov" and epoch >= 3 and step % 5 == 0:
                lookahead = lookahead or Lookahead(model)
                lookahead.update(0.95**5 * (step / steps) ** 3)
            if step == last:
                break
        if lookahead:
            lookahead.update(1)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started
        print(f"epoch {epoch + 1}: {seconds:.1f} s, loss {loss.item() / len(y):.3f}", flush=True)
    plain, views = accuracies(model, images)
    return {
        "recipe": recipe,
        "seed": seed,
        "epochs": step / steps_an_epoch,
        "seconds": seconds,
        "test_accuracy": plain,
        "test_accuracy_with_views": views,
    }


def step_seconds(precision, batch_size=500, steps=8):
    """Return the seconds per image of each training step but the first, of fast_model.py's network with Muon.

    precision: "float32", "bfloat16" (also the weights, which is fastest but too imprecise to train), or "autocast"
    (float32 weights, bfloat16 computations).
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    model = build_model(lambda: nn.LeakyReLU(0.1), 1 / 9).to(dtype=dtype, memory_format=torch.channels_last)
    optimizers, _ = optimizers_of(model, "muon", batch_size, 1, 1)
    x = torch.rand(batch_size, 3, 32, 32).to(dtype=dtype, memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch_size,))
    model[0].bias.requires_grad = False
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), y, label_smoothing=LABEL_SMOOTHING)
        model.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        seconds.append((time.perf_counter() - started) / batch_size)
    return seconds[1:]
