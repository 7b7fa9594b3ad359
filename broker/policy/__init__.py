"""Pure rules: no I/O, no clock, no random numbers, no logging. Time is an argument, in ms."""
