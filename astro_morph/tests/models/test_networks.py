# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Networks: stretches against their formulas, weights that fit other bands, averaged views."""

import numpy as np
import pytest
import torch
from torch import nn

from astro_morph.models.encoders.bands import adapt_bands
from astro_morph.models.encoders.resnet import resnet
from astro_morph.models.networks import (
    MorphologyNetwork,
    input_side,
    projection_head,
    stage_features,
)
from astro_morph.models.stretch import FluxStretch, PictureStretch


@pytest.mark.parametrize(
    ('architecture', 'n_features'), [('resnet18', 512), ('resnet34', 512), ('resnet50', 2048)]
)
@pytest.mark.parametrize('n_bands', [1, 3, 5])
def test_encoder_takes_any_number_of_bands(architecture, n_features, n_bands):
    with torch.random.fork_rng(), torch.no_grad():
        encoder = resnet(architecture, n_bands=n_bands).eval()
        features = encoder(torch.zeros(2, n_bands, 32, 32))
    assert features.shape == (2, n_features)
    assert encoder.n_features == n_features


def test_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match=r"must be one of .*'resnet18'.*, got 'vgg'"):
        resnet('vgg')


@pytest.mark.parametrize('architecture', ['resnet18', 'resnet50'])
@torch.no_grad()
def test_features_of_stages_are_the_last_mean_and_their_scatter(architecture):
    with torch.random.fork_rng():
        encoder = resnet(architecture, n_bands=2).eval()
    images = torch.rand(3, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    outputs = []
    for stage in (encoder.layer2, encoder.layer4):
        stage.register_forward_hook(lambda *call: outputs.append(call[-1].double().numpy()))
    features = stage_features(encoder, images, (2, 4)).numpy()
    expected = [outputs[-1].mean(axis=(2, 3)), *(maps.std(axis=(2, 3)) for maps in outputs)]
    expected = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in expected]
    np.testing.assert_allclose(features, np.hstack(expected), atol=1e-5)
    network = MorphologyNetwork(nn.Identity(), encoder, nn.Identity(), stages=(2, 4))
    assert network.n_features == network(images)[1].shape[1] == features.shape[1]


@torch.no_grad()
def test_features_of_stages_of_a_dark_image_are_numbers():
    with torch.random.fork_rng():
        encoder = resnet(n_bands=1).eval()
    assert stage_features(encoder, torch.zeros(1, 1, 17, 17), (1, 2, 3, 4)).isfinite().all()


def test_projection_head_has_two_layers():
    with torch.random.fork_rng():
        head = projection_head(10, n_hidden=6, n_out=4)
    x = torch.linspace(-1, 1, 10)
    weight, bias, last_weight, last_bias = (p.detach().numpy() for p in head.parameters())
    expected = last_weight @ np.maximum(weight @ x.numpy() + bias, 0) + last_bias
    np.testing.assert_allclose(head(x).detach(), expected, rtol=1e-5)


class TestAdaptBands:
    @pytest.fixture
    def weights(self):
        filters = torch.rand(4, 3, 7, 7, generator=torch.Generator().manual_seed(0))
        return {'conv1.weight': filters, 'bn1.weight': torch.ones(4)}

    @pytest.mark.parametrize('reverse', [False, True])
    @pytest.mark.parametrize('n_bands', [1, 2, 3, 4, 5, 7])
    def test_equal_bands_give_the_same_response(self, weights, n_bands, reverse):
        adapted = adapt_bands(weights, n_bands, reverse=reverse)['conv1.weight']
        assert adapted.shape == (4, n_bands, 7, 7)
        grey = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
        response, expected = (
            nn.functional.conv2d(grey.expand(-1, filters.shape[1], -1, -1), filters)
            for filters in (adapted, weights['conv1.weight'])
        )
        torch.testing.assert_close(response, expected, rtol=1e-4, atol=1e-4)

    @torch.no_grad()
    @pytest.mark.parametrize('n_bands', [1, 2, 4, 5])
    def test_an_adapted_encoder_sees_a_grey_image_as_before(self, n_bands):
        with torch.random.fork_rng():
            first, adapted = resnet().eval(), resnet(n_bands=n_bands).eval()
        adapted.load_state_dict(adapt_bands(first.state_dict(), n_bands))
        grey = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
        expected = first(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(adapted(grey.expand(-1, n_bands, -1, -1)), expected)

    def test_bands_share_the_filters_that_they_overlap(self, weights):
        first, second, third = weights['conv1.weight'].unbind(1)
        adapted = adapt_bands(weights, 2)['conv1.weight']
        expected = [first + second / 2, second / 2 + third]
        torch.testing.assert_close(adapted, torch.stack(expected, 1))
        adapted = adapt_bands(weights, 6)['conv1.weight']
        expected = [first / 2, first / 2, second / 2, second / 2, third / 2, third / 2]
        torch.testing.assert_close(adapted, torch.stack(expected, 1))

    def test_reverse_turns_the_bands(self, weights):
        turned = adapt_bands(weights, 3, reverse=True)['conv1.weight']
        assert torch.equal(turned, weights['conv1.weight'][:, [2, 1, 0]])

    def test_other_weights_and_the_input_stay(self, weights):
        before = weights['conv1.weight'].clone()
        adapted = adapt_bands(weights, 5, reverse=True)
        assert adapted['bn1.weight'] is weights['bn1.weight']
        assert torch.equal(weights['conv1.weight'], before)


class TestStretch:
    def test_extreme_flux_stays_finite_and_in_order(self):
        flux = torch.tensor([0.0, 1e3, 1e10, 1e20, 1e30, 3e38])
        for sign in (1, -1):
            images = (sign * flux).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
            stretched = sign * FluxStretch([1e-3] * 3)(images)[:, :, 0, 0]
            assert torch.isfinite(stretched).all()
            assert (stretched.diff(dim=0) >= 0).all()

    def test_flux_is_stretched_as_the_formula_says(self):
        flux = np.random.default_rng(0).normal(scale=30, size=(6, 3, 5, 5))
        noise, beta, gain = np.array([0.5, 1, 4]), 3, 0.7
        x = flux / noise[:, None, None]
        mean = np.abs(x).mean(axis=1, keepdims=True)
        expected = gain * x * np.arcsinh(mean / beta) / mean
        stretched = FluxStretch(noise, gain=gain)(torch.from_numpy(flux).float())
        np.testing.assert_allclose(stretched, expected, rtol=1e-4, atol=1e-6)

    def test_no_flux_is_zero_and_little_flux_is_linear(self):
        flux = torch.tensor([0.0, 1e-5, 1e-3, -1e-5]).view(4, 1, 1, 1)
        stretched = FluxStretch([2.0])(flux)
        torch.testing.assert_close(stretched, flux / 2 / 3)

    def test_colour_is_kept(self):
        flux = torch.tensor([10.0, 200.0, 3000.0]).view(1, 3, 1, 1)
        red, green, blue = FluxStretch([1.0, 1.0, 1.0])(flux).flatten()
        assert green / red == pytest.approx(20)
        assert blue / green == pytest.approx(15)

    @pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
    def test_missing_pixel_is_sky(self, bad):
        flux = torch.ones(1, 2, 2, 2)
        flux[0, 0, 0, 0] = bad
        as_sky = torch.ones(1, 2, 2, 2)
        as_sky[0, 0, 0, 0] = 0
        stretch = FluxStretch([1.0, 0.01])
        torch.testing.assert_close(stretch(flux), stretch(as_sky))

    def test_picture_is_brought_to_one(self):
        picture = torch.tensor([0.0, 51.0, 255.0, torch.nan]).view(1, 1, 2, 2)
        np.testing.assert_allclose(PictureStretch()(picture).flatten(), [0, 0.2, 1, 0])


@pytest.mark.parametrize(('size', 'side'), [(20, 30), (64, 96), (80, 96), (96, 96), (200, 200)])
@pytest.mark.usefixtures('enlarged')
def test_small_images_are_enlarged(size, side):
    assert input_side(size) == side


class TestMorphologyNetwork:
    @pytest.fixture
    def network(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 5))
            return MorphologyNetwork(PictureStretch(), encoder, nn.Linear(5, 2))

    @pytest.fixture
    def images(self):
        return 255 * torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def test_features_are_the_mean_over_the_views(self, network, images):
        views = [
            np.rot90(flipped, turns, (2, 3)) / 255
            for flipped in (images.numpy(), images.numpy().swapaxes(2, 3))
            for turns in range(4)
        ]
        expected = np.mean([network.encoder(torch.tensor(view.copy())) for view in views], axis=0)
        logits, features, _ = network(images)
        np.testing.assert_allclose(features, expected, rtol=1e-5)
        torch.testing.assert_close(logits, network.head(features))

    @torch.no_grad()
    def test_encoder_sees_enlarged_images(self, network, images):
        network.input_size, network.views = 8, 1
        sides = []
        network.encoder.register_forward_pre_hook(lambda _, args: sides.append(args[0].shape))
        flat = torch.full((1, 1, 4, 4), 51.0)
        features = network(flat)[1]
        network.input_size = None
        torch.testing.assert_close(network(torch.full((1, 1, 8, 8), 51.0))[1], features)
        assert sides == [(1, 1, 8, 8)] * 2

    @torch.no_grad()
    def test_prediction_does_not_depend_on_the_orientation(self, network, images):
        turned = images.rot90(1, (2, 3)).flip(2)
        torch.testing.assert_close(network(turned), network(images))
        network.views = 1
        assert not torch.allclose(network(turned)[1], network(images)[1])

    @torch.no_grad()
    def test_temperature_divides_the_logits(self, network, images):
        cold, features, _ = network(images)
        network.temperature.fill_(2.5)
        torch.testing.assert_close(network(images)[:2], (cold / 2.5, features))
