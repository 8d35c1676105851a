"""From a verified chain of segments to the signed bundle."""
