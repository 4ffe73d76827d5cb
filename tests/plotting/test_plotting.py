"""Plots draw the computed values, on new axes or on axes passed."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import gspnl
from gspnl import images, plotting
from gspnl.errors import InputError, MissingExtraError

SHAPE = (12, 16)
PHOTO = np.random.default_rng(0).random((*SHAPE, 3))
GRAPH = gspnl.feature_graph(images.photo_features(PHOTO), kernel="anchors", anchors=10)
SPECTRUM = GRAPH.spectrum()
HEAT = gspnl.responses.heat(4.0)
TABLE = gspnl.compare(GRAPH, images.from_photo(PHOTO), HEAT, range(1, 9))
FIGURE = gspnl.stability.strengths(GRAPH)
BLOCK = gspnl.stability.damping(np.eye(3, 2), [[2.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

MU = np.array([1, 0.5j, -0.5j])
HEADS = [SimpleNamespace(layer="a", head=h, gap=0.2 + 0.5 * h, eigenvalues=MU) for h in range(2)]
LAYERS = [SimpleNamespace(layer=name, off_mean=0.5, dirichlet=1.0) for name in "ab"]

PLOTS = {
    "spectrum": lambda **o: plotting.spectrum(SPECTRUM, **o),
    "responses": lambda **o: plotting.responses(HEAT, **o),
    "filter_bank": lambda **o: plotting.filter_bank(gspnl.banks.meyer(3), **o),
    "comparison": lambda **o: plotting.comparison(TABLE, **o),
    "strengths": lambda **o: plotting.strengths(FIGURE, **o),
    "spectral_density": lambda **o: plotting.spectral_density(SPECTRUM, **o),
    "top_eigenvalues": lambda **o: plotting.top_eigenvalues(BLOCK, **o),
    "attention_range": lambda **o: plotting.attention_range(GRAPH, 5, shape=SHAPE, **o),
    "modes": lambda **o: plotting.modes(SPECTRUM, SHAPE, k=3, **o),
    "attention": lambda **o: plotting.attention(GRAPH, 5, PHOTO, **o),
    "head_eigenvalues": lambda **o: plotting.head_eigenvalues(HEADS, **o),
    "head_map": lambda **o: plotting.head_map(HEADS, "gap", **o),
    "smoothing_by_depth": lambda **o: plotting.smoothing_by_depth(LAYERS, **o),
    "filtered": lambda **o: plotting.filtered({"one": PHOTO, "two": PHOTO}, **o),
}


@pytest.mark.parametrize("name", PLOTS)
def test_plots_draw_on_the_axes_passed_and_return_them(name):
    ax = Figure(figsize=(6, 4)).add_subplot()
    assert PLOTS[name](ax=ax) is ax
    assert ax.has_data()


@pytest.mark.parametrize("name", PLOTS)
def test_plots_without_axes_create_a_figure_that_can_be_saved(name, tmp_path):
    ax = PLOTS[name]()
    ax.figure.savefig(tmp_path / "plot.png")
    assert images.load_photo(tmp_path / "plot.png").std() > 0.01


def test_every_plot_is_tested():
    assert set(PLOTS) == set(plotting.__all__)


def test_plots_do_not_import_pyplot():
    code = (
        "import sys, gspnl, numpy as np; X = np.random.default_rng(0).random((50, 3)); "
        "gspnl.plotting.spectrum(gspnl.feature_graph(X).spectrum()); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spectrum_shows_every_eigenvalue():
    single, repeated = plotting.spectrum(SPECTRUM).lines
    drawn = np.concatenate([single.get_ydata(), repeated.get_ydata()])
    np.testing.assert_array_equal(np.sort(drawn), SPECTRUM.eigenvalues)
    (note,) = plotting.spectrum(SPECTRUM).texts
    assert note.get_text() == f"λ = 1, {192 - 10} times"


def test_responses_show_g_and_its_polynomials():
    plan = GRAPH.chebyshev(HEAT, order=3)
    series = gspnl.chebyshev.fit(HEAT, order=2)
    ax = plotting.responses(HEAT, series=[plan, series], spec=SPECTRUM)
    exact, first, second, dots, ticks = ax.lines
    np.testing.assert_allclose(exact.get_ydata(), np.exp(-4 * exact.get_xdata()))
    np.testing.assert_array_equal(first.get_ydata(), plan.series(first.get_xdata()))
    assert (first.get_xdata()[0], first.get_xdata()[-1]) == plan.series.interval
    np.testing.assert_array_equal(second.get_ydata(), series(second.get_xdata()))
    np.testing.assert_array_equal(dots.get_xdata(), plan.deflated)
    np.testing.assert_array_equal(ticks.get_xdata(), SPECTRUM.eigenvalues)


def test_responses_are_drawn_as_far_as_the_eigenvalues_of_a_combinatorial_graph():
    X = np.random.default_rng(0).random((50, 2))
    graph = gspnl.feature_graph(X, "rbf", normalization="combinatorial")
    spec, plan = graph.spectrum(), graph.chebyshev(HEAT, order=4)
    top = float(spec.eigenvalues[-1])
    assert top > 2
    ax = plotting.responses(HEAT, series=plan, spec=spec)
    assert ax.lines[0].get_xdata()[-1] >= top
    assert ax.get_xlim()[1] == pytest.approx(1.02 * top)
    assert plotting.filter_bank(gspnl.banks.meyer(3, lmax=top), spec=spec).lines[0].get_xdata()[
        -1
    ] == pytest.approx(top)
    assert plotting.responses(HEAT).get_xlim()[1] == 2


def test_several_responses_and_a_constant_one_are_drawn():
    ax = plotting.responses([HEAT, lambda lam: 0.5])
    assert len(ax.lines) == 2
    assert (ax.lines[1].get_ydata() == 0.5).all()


def test_comparison_shows_errors_and_bounds():
    ax = TABLE.plot()
    bounds, errors = ax.lines
    assert ax.get_yscale() == "log"
    np.testing.assert_array_equal(errors.get_ydata(), TABLE.errors)
    np.testing.assert_array_equal(bounds.get_ydata(), TABLE.bounds)


def test_comparison_without_a_certificate_says_so():
    table = gspnl.Comparison(
        np.array([1, 2]), np.array([0.1, 0.0]), np.array([np.inf, np.inf]), np.zeros(2), 0.0, HEAT
    )
    bounds, errors = plotting.comparison(table).lines
    assert bounds.get_label() == "certified bound: none"
    assert len(bounds.get_xdata()) == 0
    np.testing.assert_array_equal(errors.get_xdata(), [1])  # an error of 0 has no logarithm


def test_modes_are_centred_on_zero_without_the_constant_one():
    ax = plotting.modes(SPECTRUM, SHAPE, k=4)
    u = SPECTRUM.modes(5)[:, 1:]
    assert len(ax.images) == 4
    for image, mode in zip(ax.images, u.T, strict=True):
        assert image.get_clim() == (-1, 1)
        drawn = np.ravel(image.get_array())
        scale = np.quantile(np.abs(mode), 0.995)
        np.testing.assert_allclose(drawn, mode / scale, atol=1e-12)


def test_modes_are_limited_to_those_of_the_graph():
    assert len(plotting.modes(SPECTRUM, SHAPE, k=50).images) == 9
    alike = gspnl.feature_graph(np.ones((192, 1)), kernel="dot")  # one mode, the constant
    assert len(plotting.modes(alike.spectrum(), SHAPE).images) == 1


def test_attention_is_a_row_of_the_affinity():
    ax = plotting.attention(GRAPH, -1, PHOTO)
    np.testing.assert_allclose(ax.images[1].get_array(), (192 * GRAPH.dense()[-1]).reshape(SHAPE))
    assert ax.get_title() == "attention of pixel (15, 11)"
    on_paper = plotting.attention(GRAPH, -1, SHAPE)
    np.testing.assert_array_equal(on_paper.images[1].get_array(), ax.images[1].get_array())


def test_filtered_clips_and_titles():
    ax = plotting.filtered({"bright": PHOTO + 0.5, "grey": PHOTO[:, :, 0]})
    assert [text.get_text() for text in ax.texts] == ["bright", "grey"]
    np.testing.assert_array_equal(ax.images[0].get_array(), np.clip(PHOTO + 0.5, 0, 1))


@pytest.mark.parametrize("shape", [(10, 90), (90, 10), (30, 40)])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_pictures_do_not_overlap_and_stay_inside_the_axes(shape, count):
    ax = plotting.filtered({str(i): np.zeros(shape) for i in range(count)})
    boxes = [image.get_extent() for image in ax.images]  # left, right, bottom, top
    width, height = ax.get_xlim()[1], ax.get_ylim()[0]
    for i, (left, right, bottom, top) in enumerate(boxes):
        assert 0 <= left < right <= width + 1e-9
        assert 0 < top < bottom <= height + 1e-9
        np.testing.assert_allclose((bottom - top) / (right - left), shape[0] / shape[1])
        for other in boxes[:i]:
            apart = right <= other[0] or other[1] <= left or bottom <= other[3] or other[2] <= top
            assert apart


def test_invalid_arguments_raise():
    with pytest.raises(InputError, match="k=0 must be a whole number ≥ 1"):
        plotting.modes(SPECTRUM, SHAPE, k=0)
    with pytest.raises(InputError, match=r"do not fill a photo of shape \(3, 4\)"):
        plotting.modes(SPECTRUM, (3, 4))
    with pytest.raises(InputError, match="outside the 192 nodes"):
        plotting.attention(GRAPH, 192, PHOTO)
    with pytest.raises(InputError, match="photos have shapes"):
        plotting.filtered({"one": PHOTO, "two": PHOTO[1:]})
    with pytest.raises(InputError, match="pass one or more"):
        plotting.filtered({})


def test_missing_matplotlib_raises_with_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gspnl\[report\]'"):
        plotting.spectrum(SPECTRUM)


def test_a_filter_bank_is_drawn_with_its_sum_of_squares():
    bank = gspnl.banks.half_cosine(4)
    ax = plotting.filter_bank(
        bank, spec=gspnl.feature_graph(np.eye(4) + 1.0, kernel="dot").spectrum()
    )
    assert [line.get_label() for line in ax.lines[:5]] == [
        *(f"filter {f}" for f in range(4)), "sum of squares"
    ]  # fmt: skip
    assert np.allclose(ax.lines[4].get_ydata(), 9 / 8)
    assert np.allclose(ax.lines[1].get_ydata(), bank[1](ax.lines[1].get_xdata()))
    assert ax.lines[5].get_label() == "eigenvalues of the graph"


# --- settings of the user -------------------------------------------------------------------------

HOSTILE = [
    {
        "image.origin": "lower", "image.cmap": "jet", "image.interpolation": "bicubic",
        "savefig.dpi": 40, "figure.dpi": 30, "savefig.bbox": "tight", "savefig.pad_inches": 2.0,
        "font.size": 30, "font.family": "serif", "mathtext.fontset": "stix", "text.color": "green",
        "axes.facecolor": "yellow", "axes.grid": True, "axes.spines.left": False,
    },
    {
        "image.aspect": "auto", "image.resample": False, "image.interpolation": "nearest",
        "savefig.transparent": True, "savefig.facecolor": "red", "figure.facecolor": "black",
        "axes.prop_cycle": "cycler('color', ['red'])", "lines.linewidth": 12, "lines.marker": "x",
        "legend.frameon": True, "legend.loc": "center", "legend.fontsize": 30, "xtick.top": True,
        "font.sans-serif": ["DejaVu Serif"], "axes.unicode_minus": False, "text.hinting": "none",
    },
    {
        "figure.constrained_layout.use": False, "figure.autolayout": True, "figure.figsize": (1, 1),
        "path.sketch": (3, 100, 2), "path.simplify_threshold": 1.0, "lines.antialiased": False,
        "axes.autolimit_mode": "round_numbers", "xtick.direction": "in", "ytick.labelright": True,
        "lines.markersize": 40, "lines.markeredgewidth": 9, "hist.bins": 3, "patch.linewidth": 9,
        "text.usetex": True, "axes.formatter.use_locale": True, "axes.xmargin": 1.0,
    },
]  # fmt: skip


def png(ax):
    file = io.BytesIO()
    ax.figure.savefig(file, format="png")
    return file.getvalue()


@pytest.fixture(scope="module")
def plain():
    """The bytes of every plot under matplotlib's defaults."""
    return {name: png(plot()) for name, plot in PLOTS.items()}


@pytest.mark.parametrize("hostile", HOSTILE, ids=["pictures", "lines", "layout"])
def test_pixels_do_not_depend_on_the_users_settings(hostile, plain):
    with matplotlib.rc_context(hostile):
        before = dict(matplotlib.rcParams)
        for name, plot in PLOTS.items():
            assert png(plot()) == plain[name], name
        assert dict(matplotlib.rcParams) == before


def test_a_figure_made_under_other_settings_is_saved_in_the_same_pixels(plain):
    with matplotlib.rc_context(HOSTILE[0]):
        axes = {name: plot() for name, plot in PLOTS.items()}
    with matplotlib.rc_context(HOSTILE[1]):
        for name, ax in axes.items():
            assert png(ax) == plain[name], name


@pytest.mark.parametrize("name", ["filtered", "attention", "modes", "attention_range"])
def test_pictures_on_the_users_axes_stand_upright(name):
    with matplotlib.rc_context({"image.origin": "lower", "image.aspect": "auto"}):
        ax = Figure(figsize=(6, 4)).add_subplot()
        PLOTS[name](ax=ax)
        assert matplotlib.rcParams["image.origin"] == "lower"
    low, high = ax.get_ylim()
    assert low > high  # row 0 at the top
    assert all(image.origin == "upper" for image in ax.images)


def test_plots_on_the_users_axes_keep_the_users_text():
    with matplotlib.rc_context({"text.color": "red", "font.size": 23.0}):
        ax = Figure().add_subplot()
        plotting.responses(HEAT, ax=ax)
        assert ax.get_legend().get_texts()[0].get_color() == "red"
        assert ax.get_legend().get_texts()[0].get_fontsize() == 23.0
    assert plotting.responses(HEAT).get_legend().get_texts()[0].get_color() == "black"


@pytest.mark.parametrize("kind", ["backend", "encoding"])
def test_settings_that_stop_matplotlib_are_named(kind, tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"font.family: \xff\xfe")
    settings = {
        "backend": {"MPLBACKEND": "no such backend"},
        "encoding": {"MATPLOTLIBRC": str(tmp_path)},
    }
    code = "import gspnl; from gspnl.plotting._style import fixed_style; fixed_style().__enter__()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings[kind]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("gspnl.errors.InputError: matplotlib does not start"), done.stderr
    assert "MPLBACKEND" in last
