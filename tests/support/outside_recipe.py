"""A recipe for the package in `tests/support/outside`."""

RECIPE = """
task: vector-{task}
data: {{source: {source}}}
backbone: {{name: perceptron, width: 16}}
adapter: {adapter}
train: {{epochs: 8, optimizer: {{name: adam, lr: 1e-2}}}}
"""
FEATURES = "feature-extraction"
TOP_LAYERS = "{name: fine-tuning, layers: 2, decay: 0.8}"
