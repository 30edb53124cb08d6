"""Drawing: how figures look; knows nothing of rows, and needs no JAX."""

from lth_jax.drawing.axes import FEW as FEW
from lth_jax.drawing.axes import few as few
from lth_jax.drawing.axes import log_ticks as log_ticks
from lth_jax.drawing.axes import scale_x as scale_x
from lth_jax.drawing.looks import RUNS as RUNS
from lth_jax.drawing.looks import STYLES as STYLES
from lth_jax.drawing.looks import looks as looks
from lth_jax.drawing.looks import plain_text as plain_text
from lth_jax.drawing.looks import style as style
from lth_jax.drawing.panels import Asked as Asked
from lth_jax.drawing.panels import Drawn as Drawn
from lth_jax.drawing.panels import bar as bar
from lth_jax.drawing.panels import drawn as drawn
from lth_jax.drawing.panels import finish as finish
from lth_jax.drawing.panels import grid as grid
from lth_jax.drawing.panels import heat_maps as heat_maps
from lth_jax.drawing.panels import legend as legend
from lth_jax.drawing.told import inline as inline
from lth_jax.drawing.told import mark as mark
from lth_jax.drawing.told import save as save
from lth_jax.drawing.told import tell as tell
