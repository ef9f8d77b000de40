"""All networks that the articles print, by name, except for wang's two: these are scripts of their own.

Articles, by author (the course's initials, for scadamale): jeffries, scadamale, bernet, and wang, whose networks are in
basic_model.py and improved_model.py. compare_models.py adds those to the ones here.
"""

from convnets.architectures import bernet, jeffries, scadamale
from convnets.errors import UserError

NETWORKS = {**jeffries.NETWORKS, **scadamale.NETWORKS, **bernet.NETWORKS}


def choose(networks, names, article=None, *, everything=False, optimizer=None):
    """Return the networks of these names, of an article, or all; with another optimizer if one is given.

    networks: {name: Network} to choose from.
    Raises UserError if there is no such network, or if one of `names` has the optimizer of its own script. If it is
    chosen by its article, such a network is left out, with a message.
    """
    for name in names:
        if name not in networks:
            raise UserError(f"there is no network {name}: python compare_models.py --list shows them all")
    chosen = []
    for network in networks.values():
        if not (everything or network.article == article or network.name in names):
            continue
        if network.script and optimizer not in (None, network.optimizer):
            reason = f"{network.name} is trained by {network.script}.py, with the optimizer written there"
            if network.name in names:
                raise UserError(f"{reason}: change it there, or name other networks")
            print(f"Left out: {reason}.")
        else:
            chosen.append(network.with_optimizer(optimizer, networks.values()))
    if not chosen:
        raise UserError("no network is left to train: name others, or leave out --optimizer")
    return list(dict.fromkeys(chosen))
