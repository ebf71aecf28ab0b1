"""One module for each thing that is fuzzed; each says which law holds for it.

``seeds()`` gives inputs to begin with, and ``check(data)`` raises where the law is broken.
"""
