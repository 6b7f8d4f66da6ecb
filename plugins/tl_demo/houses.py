"""Houses with doors, windows, roofs and shops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tl_demo.bodywork import any_colour
from tl_demo.canvas import BLACK, WHITE, Canvas, Colour, mixed
from tl_demo.shell import GLASS

__all__ = ["WALLS", "House"]

WALLS: tuple[Colour, ...] = (
    (196, 120, 92), (168, 92, 74), (222, 206, 176), (236, 228, 210), (204, 196, 186), (150, 160, 168), (226, 178, 118),
    (178, 190, 160), (224, 186, 186), (150, 130, 116), (120, 126, 138), (184, 204, 214),
)  # fmt: skip
ROOFS: tuple[Colour, ...] = ((150, 76, 58), (112, 66, 54), (84, 86, 94), (66, 60, 62), (128, 110, 92))
LIT: tuple[Colour, ...] = ((255, 214, 130), (255, 232, 170), (250, 190, 110))


@dataclass(frozen=True)
class House:
    """A house whose front stands at ``z`` from ``x`` on; ``scale`` is that of its street."""

    x: float
    z: float
    wide: float
    tall: float
    floors: int
    scale: float
    cottage: bool

    def paint(self, canvas: Canvas, rng: Random) -> None:
        """Paint the sides, the roof and the front."""
        x, z, wide, tall, scale = self.x, self.z, self.wide, self.tall, self.scale
        wall = mixed(rng.choice(WALLS), any_colour(rng), 0.12)
        far = z - 6 * scale
        for side in (x, x + wide):
            corners = [(side, 0, z), (side, tall, z), (side, tall, far), (side, 0, far)]
            canvas.polygon(corners, mixed(wall, BLACK, 0.3))
        self._paint_roof(canvas, rng, wall)
        shop = not self.cottage and rng.random() < 0.45
        self._paint_windows(canvas, rng, shop=shop)
        if shop:
            self._paint_shop(canvas, rng)
        else:
            door = mixed(rng.choice(ROOFS), any_colour(rng), 0.5)
            canvas.box(x + wide * rng.uniform(0.1, 0.75), 0, 0.95 * scale, 2.0 * scale, z + 0.02, door)

    def _paint_roof(self, canvas: Canvas, rng: Random, wall: Colour) -> None:
        x, z, wide, tall, roof = self.x, self.z, self.wide, self.tall, rng.choice(ROOFS)
        end, peak = x + wide, tall + rng.uniform(0.35, 0.6) * min(wide, 6 * self.scale)
        style = rng.choice(["gable", "hip"] if self.cottage else ["flat", "flat", "hip", "gable"])
        if style == "gable":
            canvas.upright([(x - 0.2, tall), (x + wide / 2, peak), (end + 0.2, tall)], z, roof)
            canvas.upright([(x + 0.2, tall), (x + wide / 2, peak - 0.4), (end - 0.2, tall)], z, wall)
        elif style == "hip":
            ridge = [(x + 0.12 * wide, peak), (x + 0.88 * wide, peak)]
            canvas.upright([(x - 0.2, tall), *ridge, (end + 0.2, tall)], z, roof)
        canvas.box(x, 0, wide, tall, z, wall)
        if style == "flat":
            canvas.box(x, tall - 0.25 * self.scale, wide, 0.25 * self.scale, z, mixed(wall, BLACK, 0.25))

    def _paint_windows(self, canvas: Canvas, rng: Random, *, shop: bool) -> None:
        z = self.z + 0.02
        count = max(1, int(self.wide / rng.uniform(1.4, 2.2) / self.scale))
        storey, pitch = self.tall / self.floors, self.wide / count
        across, up = pitch * rng.uniform(0.4, 0.62), storey * rng.uniform(0.4, 0.6)
        frame = rng.choice([WHITE, WHITE, (90, 70, 60), (60, 64, 68)])
        for floor in range(1 if shop else 0, self.floors):
            for index in range(count):
                left, low = self.x + pitch * index + (pitch - across) / 2, storey * (floor + 0.3)
                glowing = rng.random() < 0.55 * canvas.light.lamps
                pane = rng.choice(LIT) if glowing else mixed(GLASS, canvas.light.sky_bottom, rng.uniform(0.0, 0.4))
                canvas.box(left - 0.06, low - 0.06, across + 0.12, up + 0.12, z, frame)
                canvas.box(left, low, across, up, z, pane, glowing=glowing)
                canvas.box(left + across / 2 - 0.03, low, 0.06, up, z, frame)

    def _paint_shop(self, canvas: Canvas, rng: Random) -> None:
        x, z, wide, storey = self.x, self.z + 0.03, self.wide, self.tall / self.floors
        lit = canvas.light.lamps > 0.3
        pane = rng.choice(LIT) if lit else mixed(GLASS, WHITE, 0.25)
        canvas.box(x + 0.08 * wide, 0.15 * storey, 0.6 * wide, 0.55 * storey, z, pane, glowing=lit)
        canvas.box(x + 0.74 * wide, 0, 0.18 * wide, 0.7 * storey, z, any_colour(rng, 40, 160))
        bright = any_colour(rng, 50, 230)
        high, low, front = 0.92 * storey, 0.72 * storey, z + 0.8 * self.scale
        edges = [x + wide * (0.04 + 0.115 * index) for index in range(9)]
        for index, (a, b) in enumerate(pairwise(edges)):
            tint = bright if index % 2 else mixed(bright, WHITE, 0.75)
            canvas.polygon([(a, high, z), (b, high, z), (b, low, front), (a, low, front)], tint)
