"""`make bench`: the broker and its peers on this machine, in turn, in one run.

The figure is CPU time of the proxy's processes per request, read from /proc, because it is what one
core can carry and does not depend on how the load generator shares the machine; throughput and
latency stand beside it. Rounds alternate between the peers so that a machine that drifts is fair to
all of them.
"""
