-- Recognises the names of Cisco IP phones' configuration files.  scripts/certhash/cnf/names.py has the same rule.

local M = {}

--- Return the base name of a path of any system, a URL's path or an IOS location ("flash:/its/vrf1_SEP....cnf.xml").
---@param path string
---@return string
function M.base_name(path)
    return (path:gsub("[?#].*$", ""):match("([^/\\:]*)$"))
end

local SEP = "sep%x%x%x%x%x%x%x%x%x%x%x%x"

-- Return the part before .cnf.xml of a name that phones request, in lower case; nil for any other name.
local function stem_of(name)
    local lower = name:lower()
    local stem = lower:match("^(.+)%.cnf%.xml$") or lower:match("^(.+)%.cnf%.xml%.sgn$")
        or lower:match("^(.+)%.cnf%.xml%.enc%.sgn$")
    if not stem or not stem:find("^[%w_.-]+$") or stem:find(SEP) and not stem:find("^" .. SEP .. "$") then
        return nil
    end
    return stem
end

--- Return the device of a configuration file by its name, or nil if no phone requests such a name.
-- Only the name contains the device: SEP and the MAC address, or XMLDefault and a phone type for a shared file.  Names are
-- plain (.cnf.xml), signed (.sgn) or encrypted (.enc.sgn), in upper or lower case, with the prefix "vrf1_" that CME adds to
-- the files of a VRF.
---@param path string
---@return string|nil
function M.device(path)
    local base = M.base_name(path)
    local name = base:gsub("^[vV][rR][fF]%d+_", "")
    local stem = stem_of(name)
    if not stem then
        name, stem = base, stem_of(base)
    end
    if not stem then
        return nil
    elseif stem:find("^" .. SEP .. "$") then
        return stem:upper()
    end
    return name:sub(1, #stem)
end

--- Return whether a name resembles that of a phone's configuration, but no phone requests it: SEP....cnf.xml.bak,
-- BAK_SEP....cnf.xml, a browser's "SEP....cnf (1).xml", Wireshark's SEP....cnf(1).xml.
---@param path string
---@return boolean
function M.is_copy(path)
    local lower = M.base_name(path):lower()
    if M.device(path) then
        return false
    end
    local from = lower:find(".cnf", 1, true)
    while from do
        local at = lower:find(".xml", from + 4, true)
        if at and at <= from + 12 then
            return true
        end
        from = lower:find(".cnf", from + 1, true)
    end
    local phone = select(2, lower:find(SEP))
    return phone ~= nil and (lower:find(".xml", phone + 1, true) or lower:find(".sgn", phone + 1, true)) ~= nil
end

return M
