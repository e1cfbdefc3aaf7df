"""What a run is shown as: the HTML report and the contract pages."""
