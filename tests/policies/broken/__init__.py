"""A zoo of policies that look fine and are not. Each breaks one promise, and says in ``CAUGHT_BY`` which check must see it."""
