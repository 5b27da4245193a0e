"""The static roofline: instructions of a compiled kernel's main loop, and a model of the clocks they take."""
