-- What the workers have told to steward.lua: a flat list {incarnation, age (ms), JSON, ...}.
return figures_told(function() return true end)
