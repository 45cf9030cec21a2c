"""Taking files away: the original of one run, or a basket of many, built in the background.

============ =====================================================================================
``settings`` where baskets are built, how many and for how long they are kept
``basket``   what was chosen, and how far it is: one folder per basket, `Basket`
``shelf``    all baskets: makes them, finds them, keeps within the disk, forgets old ones
``building`` writes the archive of a basket
``queue``    hands baskets to whoever builds them (huey: a file, or Redis)
``worker``   builds them, in a process of its own
``facts``    how the shelf is, for monitors
``parts``    what a dashboard process has of these
``answers``  what is asked and said of baskets, as JSON
``handlers`` ``/downloads``: begin, watch, fetch, remove; ``/originals``
``commands`` ``dqm worker``, ``dqm baskets``
``errors``   what can go wrong
============ =====================================================================================

Dashboard and worker meet in the folder of baskets and in the queue, and know nothing of each other.
"""
