"""What networks learn from: MIT-BIH, your own arrays or synthetic ECG; start at `load`."""
