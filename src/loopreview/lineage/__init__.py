"""Lineage: which run learnt from which example of which transcript, both ways; and withdrawing one."""
