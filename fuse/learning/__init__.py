"""What learns: features prepared, a head fitted on one split, the model that a run ends with."""
