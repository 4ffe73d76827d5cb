"""Settings are validated, and orders and pixels are parsed."""

import math

import pytest

from gspnl.errors import InputError
from gspnl.report import Settings
from gspnl.report.settings import parse_orders, parse_pixel


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "achors"}, "unknown kernel 'achors'; did you mean 'anchors'"),
        ({"kernel": "concatenation"}, "needs embedding vectors, which a photo does not bring"),
        ({"kernel": "dot", "rank": 5}, "rank=5 is the number of anchors"),
        ({"kernel": "dot", "sigma": 1.0}, "sigma=1.0 belongs to kernel='anchors' or 'rbf'"),
        ({"sigma": math.nan}, "sigma=nan must be a finite number > 0"),
        ({"rank": 0}, "rank=0 must be a whole number ≥ 1"),
        ({"seed": -1}, "seed=-1 must be a whole number ≥ 0"),
        ({"max_nodes": 1}, "max_nodes=1 must be a whole number ≥ 2"),
        ({"pixels": ((-1, 0),)}, "pixel=-1,0 must be X,Y with X ≥ 0"),
        ({"normalization": "random_wlk"}, "did you mean 'random_walk'"),
        ({"response": "heet(3)"}, "did you mean 'heat'"),
        ({"response": "heat(3"}, r"is not of the form name\(number"),
        ({"orders": "one"}, "orders='one' is no list of whole numbers; pass for example"),
        ({"orders": ""}, "orders='' is no list of whole numbers"),
        ({"orders": "1:2:0"}, "orders='1:2:0' is no list"),
        ({"orders": "5:1"}, "its first order is above its last"),
        ({"orders": "-3,2"}, "must lie between 0 and 10000"),
        ({"orders": "1:5000"}, "are 5000 filters of the photo; ask for at most 1000"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Settings(**options)


def test_orders_and_pixels_are_parsed():
    assert parse_orders("2:8:3") == (2, 5, 8)
    assert parse_orders("7") == (7,)
    assert parse_orders("3,1,3") == (1, 3)
    assert parse_pixel("10, 20") == (10, 20)
    for text in ("10", "1,2,3", "a,b", ""):
        with pytest.raises(InputError, match="is not of the form X,Y, as --pixel 250,190"):
            parse_pixel(text)
