# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Services that have the mosaics of Euclid: IRSA, object storage, and the archive of ESA."""
