# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Models: a network or an ONNX file with its specification, calibration and novelty."""
