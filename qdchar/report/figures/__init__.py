"""Figures: every measurement with its fit and residuals, the key rate over loss, the history."""

from .curves import draw_curve as draw_curve
from .curves import plot as plot
from .files import embedded as embedded
from .files import save_figure as save_figure
from .files import write_key_rate_figure as write_key_rate_figure
from .files import write_outcome_figure as write_outcome_figure
from .files import write_step_figures as write_step_figures
from .history import draw_history as draw_history
from .key_rate import draw_key_rate as draw_key_rate
from .style import DATA as DATA
from .style import FIT as FIT
from .style import SOFT as SOFT
from .style import STYLE as STYLE
