"""The first pass over a capture: leave out what no verdict can depend on, before tshark reads the rest."""
