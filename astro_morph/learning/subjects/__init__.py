# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a lesson teaches: classes, numbers or votes."""
