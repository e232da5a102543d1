# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The estimators: classifier, encoder, votes, and their ONNX counterparts."""
