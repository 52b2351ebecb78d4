"""All moods, by name: see `mood`."""

from mood_fields import FIELDS
from mood_lengths import TOO_LONG
from mood_money import MONEY
from mood_roles import ROLES
from mood_shapes import SHAPES

MOODS = FIELDS | SHAPES | TOO_LONG | MONEY | ROLES
