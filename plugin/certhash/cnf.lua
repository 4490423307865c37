-- Cisco IP phones' configuration files, SEP<MAC>.cnf.xml and the like: their names, and what they say of the VPN.

local M = {}

--- The bare name of a file, from a path of any system, a URL's path or an IOS location ("flash:/its/vrf1_SEP....cnf.xml").
function M.base_name(path)
    return (path:gsub("[?#].*$", ""):match("([^/\\:]*)$"))
end

--- The device a configuration file is for, by its name; nil where the name is not that of such a file.
-- The name is the only place that says it: SEP and the MAC address, or XMLDefault and a type of phone for a file that
-- several phones share.  Names come plain (.cnf.xml), signed (.sgn) and encrypted (.enc.sgn), in any case, and with the
-- "vrf1_" that CME puts before the files of a VRF.
function M.device(path)
    local name = M.base_name(path):gsub("^[vV][rR][fF]%d+_", "")
    local lower = name:lower()
    local stem = lower:match("^(.+)%.cnf%.xml$") or lower:match("^(.+)%.cnf%.xml%.sgn$")
        or lower:match("^(.+)%.cnf%.xml%.enc%.sgn$")
    if not stem or stem:find("[%c]") then
        return nil
    end
    if stem:match("^%a+%x%x%x%x%x%x%x%x%x%x%x%x$") then
        return stem:upper()
    end
    return name:sub(1, #stem)
end

return M
