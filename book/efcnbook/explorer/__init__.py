"""The tw explorer: a study's numbers in one page, to be moved through by hand.

    numbers.load("quick") -> a pack, plain JSON -> page.show([pack, ...]) in a notebook, page.html for anything else

`page.script` and `page.style` are for whoever mounts it himself, with packs that grow.
"""
