"""Names of the rows that are compared: what measures them and what prints them run in different processes."""

SCAN, EAGER = "lax.scan, by hand (the limit)", "eager tape loop, by hand"
PLAIN = "plain loop, by hand"
FIT, FIT_K = "built-in fit", "built-in fit, K=32"
OURS, OURS_K, LOOP = "tailfit.Model.fit", "tailfit.Model.fit, K=32", "tailfit.function loop"
