"""The recipe: one YAML file that says what a run is, typed, with every key known. Nothing here imports torch."""

from tlcore.recipe.reading import key_places, parse_recipe, read_choice, read_data_section, read_recipe
from tlcore.recipe.reference import recipe_reference
from tlcore.recipe.schema import recipe_schema
from tlcore.recipe.sections import (
    OPTIMIZERS,
    SCHEDULERS,
    SGD,
    Adam,
    AdamW,
    Choice,
    Constant,
    Cosine,
    DataSection,
    EvaluateSection,
    HoldoutSection,
    Linear,
    OneCycle,
    Plateau,
    Recipe,
    RMSprop,
    Step,
    TrainSection,
)
from tlcore.recipe.writing import plain, plain_value, recipe_yaml

__all__ = [
    "OPTIMIZERS",
    "SCHEDULERS",
    "SGD",
    "Adam",
    "AdamW",
    "Choice",
    "Constant",
    "Cosine",
    "DataSection",
    "EvaluateSection",
    "HoldoutSection",
    "Linear",
    "OneCycle",
    "Plateau",
    "RMSprop",
    "Recipe",
    "Step",
    "TrainSection",
    "key_places",
    "parse_recipe",
    "plain",
    "plain_value",
    "read_choice",
    "read_data_section",
    "read_recipe",
    "recipe_reference",
    "recipe_schema",
    "recipe_yaml",
]
