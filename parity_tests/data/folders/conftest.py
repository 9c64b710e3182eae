"""The folder of pairs that the tests of data sets have."""

from ..datasets.conftest import pairs as pairs
