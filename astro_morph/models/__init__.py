# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Models: networks and ONNX files, with their specification, calibration and novelty."""
