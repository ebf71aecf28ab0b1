"""The demo: everything runs, and a story with visitors, trouble and recovery shows it at work.

It knows the service as a user does, by its commands and its REST answers. Of its code it takes
only the law of the simulated click log, so that visitors behave as what the models learnt from.
"""
