# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Networks that turn images into features, ours and those that others publish.

An encoder is a `torch.nn.Module` that maps (n, band, y, x) to (n, ``n_features``). It has

- ``n_features``: the number of features;
- ``stage_channels``: the number of channels of each of its four stages;
- ``first_layer``: the name of the layer that takes the bands;
- ``forward_stages(images)``: returns the features, and the outputs (n, channel, y, x) of the four
  stages, all in single precision.
"""
