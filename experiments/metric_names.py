"""Names of the saliency metrics and their directions, without importing what computes them."""

METRICS = ("cc", "nss", "kld", "sim", "auc", "sauc", "ig")
LABELS = {
    "cc": "CC",
    "nss": "NSS",
    "kld": "KLD",
    "sim": "SIM",
    "auc": "AUC",
    "sauc": "sAUC",
    "ig": "IG",
    "emd": "EMD",
}
# Metrics of other codes; never in the main table.
VARIANTS = {
    "sim_minmax": "SIM, min-max",
    "kld_pysaliency": "KLD, pysaliency",
    "kld_paper": "KLD, no ε",
    "auc_judd": "AUC-Judd",
    "auc_judd_jitter": "AUC-Judd, jitter",
    "auc_borji": "AUC-Borji",
}
LOWER_IS_BETTER = frozenset({"kld", "emd", "kld_pysaliency", "kld_paper"})
# Of the table of localisation: its rows and the prefixes of their columns in per_image.csv.
LOCATED = {
    "class_activation": "activation_",
    "model": "gaze_",
    "centre_bias": "centre_bias_",
    "chance": "chance_",
}
# What runs are compared by, where they have it.
LOCALISATION = {
    "activation_inside": "evidence in boxes",
    "activation_pointing": "evidence points",
    "gaze_inside": "gaze in boxes",
    "gaze_pointing": "gaze points",
}
