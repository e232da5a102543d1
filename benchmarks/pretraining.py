# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Images a second of pretraining by MoCo: our loop, the bare network, lightly, and a script of 2023.

All train a ResNet-18 on pictures of 64 x 64 pixels, 128 a step. The bare network is what any loop
must do: two forward passes and one backward pass, on random tensors, in our precision and layout.
lightly's loop is its example for MoCo, with its transform. The script is one that was written for
galaxies in 2023 (GalaxyMorphology-MoCo), made to run: it augments one image after the other, keeps
65536 keys, and has PyTorch look for anomalies.

Without a GPU, the time is that of one core of the CPU, which other programs on the machine hardly
change. Each loop has its turn in each round; the ratios are medians over the rounds.

It needs lightly, which the package does not: pip install --no-deps lightly lightning-utilities

    python benchmarks/pretraining.py
"""

import argparse
import copy
import random
import time

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import MoCoV2Transform
from PIL import Image, ImageFilter
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import resnet18

from astro_morph.learning.objectives import MoCo
from astro_morph.learning.training.devices import autocast, choose_device
from astro_morph.learning.training.loop import sgd, train
from astro_morph.learning.training.views import CONTRAST, RandomViews
from astro_morph.models.encoders.resnet import resnet
from astro_morph.models.networks import projection_head

SIZE = 64
BATCH_SIZE = 128
QUEUE_SIZE = 4096
GOALS = {'bare network': 0.9, 'lightly': 1.5, 'script of 2023': 2.0}


class Ours:
    """Our loop, through the function that all estimators call."""

    def __init__(self, pictures, device):
        self.pictures, self.device = pictures, device
        self.objective = MoCo(resnet(), RandomViews(SIZE, **CONTRAST), queue_size=QUEUE_SIZE)
        self.objective.to(device, memory_format=torch.channels_last)
        self.optimizer = sgd(self.objective, learning_rate=0.06)

    def __call__(self):
        train(
            self.objective,
            self.pictures,
            self.optimizer,
            epochs=1,
            batch_size=BATCH_SIZE,
            device=self.device,
            random_state=0,
            verbose=False,
        )


class Bare:
    """Two forward passes and one backward pass, in our precision and layout."""

    def __init__(self, pictures, device):
        self.n_steps, self.device = len(pictures) // BATCH_SIZE, device
        self.query = nn.Sequential(resnet(), projection_head(512))
        self.query.to(device, memory_format=torch.channels_last)
        self.key = copy.deepcopy(self.query).requires_grad_(False)

    def __call__(self):
        views = torch.rand(BATCH_SIZE, 3, SIZE, SIZE, device=self.device)
        views = views.contiguous(memory_format=torch.channels_last)
        for _ in range(self.n_steps):
            with autocast(self.device):
                with torch.no_grad():
                    keys = self.key(views)
                loss = functional.mse_loss(self.query(views), keys)
            self.query.zero_grad()
            loss.backward()


class Lightly:
    """The example of lightly 1.6, with as many keys as ours."""

    def __init__(self, pictures, device):
        self.device = device
        dataset = Transformed(
            [Image.fromarray(picture) for picture in pictures.transpose(0, 2, 3, 1)],
            MoCoV2Transform(input_size=SIZE),
        )
        # On the CPU, workers would only take the cores that train.
        workers = 0 if device.type == 'cpu' else 16
        self.loader = DataLoader(
            dataset, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers
        )
        self.backbone = nn.Sequential(*list(resnet18().children())[:-1]).to(device)
        self.head = MoCoProjectionHead(512, 512, 128).to(device)
        self.followers = copy.deepcopy(self.backbone), copy.deepcopy(self.head)
        for follower in self.followers:
            deactivate_requires_grad(follower)
        self.criterion = NTXentLoss(memory_bank_size=(QUEUE_SIZE, 128)).to(device)
        self.optimizer = torch.optim.SGD(
            [*self.backbone.parameters(), *self.head.parameters()], lr=0.06
        )

    def __call__(self):
        for query_view, key_view in self.loader:
            for leader, follower in zip((self.backbone, self.head), self.followers, strict=True):
                update_momentum(leader, follower, m=0.99)
            queries = self.head(self.backbone(query_view.to(self.device)).flatten(1))
            backbone, head = self.followers
            keys = head(backbone(key_view.to(self.device)).flatten(1)).detach()
            loss = self.criterion(queries, keys)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


class Script:
    """What the script of 2023 does in a step, on one device."""

    n_keys = 65536

    def __init__(self, pictures, device):
        self.device = device
        images = torch.from_numpy(pictures).float() / 255
        augment = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomResizedCrop(SIZE, scale=(0.2, 1.0)),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                transforms.RandomGrayscale(p=0.2),
                transforms.RandomApply([blur], p=0.5),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )
        # The query is the image itself; only the key is a random view.
        dataset = Transformed(images, lambda image: (image, augment(image)))
        self.loader = DataLoader(dataset, BATCH_SIZE, shuffle=True, drop_last=True)
        self.query = resnet18(num_classes=128).to(device)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.queue = functional.normalize(torch.randn(128, self.n_keys, device=device), dim=0)
        self.pointer = 0
        self.optimizer = torch.optim.SGD(self.query.parameters(), lr=3e-4)

    def __call__(self):
        with torch.autograd.set_detect_anomaly(True, check_nan=True):
            for image, view in self.loader:
                self.step(image.to(self.device), view.to(self.device))

    def step(self, image, view):
        queries = functional.normalize(self.query(image), dim=1)
        with torch.no_grad():
            for leader, follower in zip(
                self.query.parameters(), self.key.parameters(), strict=True
            ):
                follower.data = follower.data * 0.999 + leader.data * 0.001
            order = torch.randperm(len(view), device=self.device)
            keys = functional.normalize(self.key(view[order]), dim=1)[order.argsort()]
        positive = (queries * keys).sum(1, keepdim=True)
        logits = torch.cat([positive, queries @ self.queue.clone()], 1) / 0.07
        target = torch.zeros(len(logits), dtype=torch.long, device=self.device)
        self.queue[:, self.pointer : self.pointer + len(keys)] = keys.T
        self.pointer = (self.pointer + len(keys)) % self.n_keys
        loss = functional.cross_entropy(logits, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Transformed(Dataset):
    """Images, transformed one after the other as they are asked for."""

    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index])


def blur(picture):
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def seconds(run, device):
    if device.type == 'cpu':
        start = time.process_time()
        run()
        return time.process_time() - start
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--steps', type=int, default=4, help='steps of each in a round')
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()

    torch.set_num_threads(1)
    device = choose_device()
    n = options.steps * BATCH_SIZE
    pictures = np.random.default_rng(0).integers(0, 256, (n, 3, SIZE, SIZE), np.uint8)
    makers = {'ours': Ours, 'bare network': Bare, 'lightly': Lightly, 'script of 2023': Script}
    loops = {name: maker(pictures, device) for name, maker in makers.items()}
    place = torch.cuda.get_device_name() if device.type == 'cuda' else 'one core of the CPU'
    print(f'{place}, PyTorch {torch.__version__}, {options.rounds} rounds of {options.steps} steps')
    times = {name: [] for name in loops}
    for number in range(options.rounds + 1):
        for name, loop in loops.items():
            spent = seconds(loop, device)
            if number:  # the first round warms up
                times[name].append(spent)
    ours = np.array(times['ours'])
    for name, spent in times.items():
        ratio = np.median(np.array(spent) / ours)
        goal = f', goal {GOALS[name]}' if name in GOALS else ''
        print(
            f'  {name:16}{n / np.median(spent):8.1f} images a second; ours {ratio:.2f} times{goal}'
        )


if __name__ == '__main__':
    main()
