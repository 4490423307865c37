-- Escapes untrusted text (certificates, file names, URLs) for the packet tree, which is also printed on terminals and
-- exported to CSV files.

local M = {}

local function hex(bytes)
    return (bytes:gsub(".", function(c) return ("\\x%02x"):format(c:byte()) end))
end

-- Return the length of the UTF-8 character at a position, or nil if there is none (RFC 3629).
local function character(text, at)
    local first = text:byte(at)
    local rest = first >= 0xc2 and first < 0xe0 and "^[\128-\191]"
        or first == 0xe0 and "^[\160-\191][\128-\191]"
        or first == 0xed and "^[\128-\159][\128-\191]"
        or first > 0xe0 and first < 0xf0 and "^[\128-\191][\128-\191]"
        or first == 0xf0 and "^[\144-\191][\128-\191][\128-\191]"
        or first > 0xf0 and first < 0xf4 and "^[\128-\191][\128-\191][\128-\191]"
        or first == 0xf4 and "^[\128-\143][\128-\191][\128-\191]"
    local _, stop = text:find(rest or "^$", at + 1)
    return rest and stop and stop - at + 1
end

-- Return whether a character does not print as itself: the C1 controls, and marks that change the direction of text.
local function misleading(text)
    return text:find("^\194[\128-\159]") or text:find("^\226\128[\139-\143\168-\174]")
        or text:find("^\226\129[\160-\175]") or text == "\239\187\191"
end

--- Return the text with every byte that does not print as itself escaped as \x1b, cut to an optional length.
---@param text string
---@param longest integer|nil
---@return string
function M.text(text, longest)
    if not text:find("[%c\128-\255]") then
        return longest and #text > longest and text:sub(1, longest) .. "..." or text
    end
    local out, at, length = {}, 1, 0
    while at <= #text do
        if longest and length >= longest then
            out[#out + 1] = "..."
            break
        end
        local first = text:byte(at)
        local size = first < 128 and 1 or character(text, at)
        local one = text:sub(at, at + (size or 1) - 1)
        if not size or first < 32 or first == 127 or misleading(one) then
            one = hex(one)
        end
        out[#out + 1] = one
        at, length = at + (size or 1), length + 1
    end
    return table.concat(out)
end

return M
