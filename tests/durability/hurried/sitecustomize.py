"""Every interpreter of a server of the crash points imports this; its controllers have less to wait for.

They look at a rollout four times a second, and write its certificate a second after the switch: the same looks, steps
and calls as ever, in a third of the time.
"""

import sys

if "changeover.controller.process" in sys.orig_argv:
    from changeover.rollout import driver, receipt

    driver._TICK = 0.25
    receipt._AFTER_NS = 10**9
