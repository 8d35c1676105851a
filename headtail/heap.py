"""What a program keeps for good, and what it need not keep once it is ready."""

import gc

from headtail.mapped import let_go_of_files


def keep_for_good() -> None:
    """Take all that exists now for permanent: the collector passes it by from here on.

    To be called once, when a program is ready: modules, bundles and stubs are some hundred thousand
    objects, and looking through them again and again takes a fifth of what a window costs (measured
    at 16 KB). What is made later is collected as ever, and what nothing refers to any more is freed
    as ever.
    """
    gc.collect()
    gc.freeze()


def settle() -> None:
    """Keep for good what exists now, and let go of the code that only the start has run."""
    keep_for_good()
    let_go_of_files()
