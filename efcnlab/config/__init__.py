"""What a study and a run are: plain, frozen, validated data, and the presets."""
