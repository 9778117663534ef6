"""Every kind of covariance, with the options that change its statistics: A = 4."""

KINDS = {
    "full": {"kind": "full"},
    "diagonal": {"kind": "diagonal"},
    "shared": {"kind": "shared"},
    "identity": {"kind": "identity"},
    "low_rank": {"kind": "low_rank", "rank": 4},
    "learned": {"kind": "learned"},
}
SETUPS = KINDS | {
    "full, shrunk": {"kind": "full", "shrinkage": 3.0},
    "diagonal, shrunk": {"kind": "diagonal", "shrinkage": 3.0},
    "low_rank, shrunk": {"kind": "low_rank", "rank": 4, "shrinkage": 3.0},
    "full, fading": {"kind": "full", "memory": 0.9},
    "diagonal, fading": {"kind": "diagonal", "memory": 0.9},
    "shared, fading": {"kind": "shared", "memory": 0.9},
    "low_rank, fading": {"kind": "low_rank", "rank": 4, "memory": 0.9},
    "full, fading, shrunk": {"kind": "full", "memory": 0.9, "shrinkage": 3.0},
    "diagonal, fading, shrunk": {"kind": "diagonal", "memory": 0.9, "shrinkage": 3.0},
    "low_rank, fading, shrunk": {"kind": "low_rank", "rank": 4, "memory": 0.9, "shrinkage": 3.0},
}
BY_EPOCHS = {
    "full, by epochs": {"kind": "full", "memory": "epoch"},
    "diagonal, by epochs, shrunk": {"kind": "diagonal", "memory": "epoch", "shrinkage": 3.0},
    "shared, by epochs": {"kind": "shared", "memory": "epoch"},
    "low_rank, by epochs": {"kind": "low_rank", "rank": 2, "memory": "epoch"},
}
