-- Reads phones' configuration files that were saved from a terminal: a single vpnGroup, or a log with prompts around the
-- file, the pager's --More-- in it, and wrapped lines.
--
--   local file, problem = excerpt.read(name, content)
--
-- It is for files that cnf.read refused.  The companion (scripts/certhash/cnf/excerpts.py) reads more: texts with time
-- stamps or quote marks, from web pages, and of several files.  Both read the common subset alike; the rest is refused
-- here.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local cnf, markup, names, xml = others.cnf, others.markup, others.names, others.xml

local SEVERAL = "it shows several files or vpnGroup elements, and it is unknown which one counts"
local NO_END = "its vpnGroup has no end: copy everything from <vpnGroup> to </vpnGroup>"

-- Remove the pager's text and the blanks after it, if there are no backspaces.  Backspaces determine what the pager
-- covered: IOS erases nine columns.
local function without_pager(text)
    local function gone(blanks, after)
        return after == "" and (" "):rep(#blanks >= 9 and #blanks - 9 or #blanks - 1) or nil
    end
    text = text:gsub(" ?%-%-?More%-%-?( *)(\b?)", gone)
    return (text:gsub(" ?<%-+ More %-+>( *)(\b?)", gone))
end

-- Return a line with backspaces as a screen shows it: each moves back one column, and text overwrites.
local function rubbed_out(line)
    local cells, at = {}, 1
    for character in line:gmatch(".") do
        if character == "\b" then
            at = math.max(at - 1, 1)
        else
            cells[at], at = character, at + 1
        end
    end
    return (table.concat(cells):gsub(" +$", ""))
end

-- Return a terminal's log as the device wrote it, or nil if that is uncertain.
local function cleaned(text)
    text = text:gsub("\27%[[\48-\63]*[\32-\47]*[\64-\126]", ""):gsub("[\1-\7\11-\31\127]", "")
    text = without_pager(text)
    local certain = true
    if text:find("\b", 1, true) then
        text = text:gsub("[^\n]*", function(line)
            if line:find("\b", 1, true) then
                certain = certain and not line:find("[\128-\255]")
                return rubbed_out(line)
            end
        end)
    end
    return certain and text or nil
end

-- Undo the line wrapping of a window: a line of maximum length continues on the next line.  The first line may begin before
-- the given part.
local function joined(text, before)
    local lines, window = {}, 0
    for line in (text .. "\n"):gmatch("([^\n]*)\n") do
        lines[#lines + 1] = line
        local length = #line + (#lines == 1 and before or 0)
        window = math.max(window, length)
    end
    if window < 40 then
        return text
    end
    local out, full = {}, false
    for i, line in ipairs(lines) do
        if not (full and line == "" and not out[#out]:find(">$")) then  -- else the pager stood there
            if i > 1 and not (full and line:find("^[^ ]")) then
                out[#out + 1] = "\n"
            end
            out[#out + 1] = line
            full = #line + (i == 1 and before or 0) == window
        end
    end
    return table.concat(out)
end

-- Return how many tags of a name begin in a text, and where the first one begins.
local function beginnings(text, name)
    local number, first = 0, nil
    for at in text:gmatch("()<" .. name .. "%f[%s/>]") do
        number, first = number + 1, first or at
    end
    return number, first
end

-- Return whether more than a declaration precedes a signed file: then it is the header, as a terminal displays it.
local function header_is_lost(name, before)
    return name:lower():find("%.sgn$") and before:gsub("<%?xml[^<>]*%?>", ""):find("%S")
end

-- Return whether the surrounding text names another phone file.
local function names_another(text, device)
    for word in text:gmatch("%S+") do
        if word:lower():find(".cnf.xml", 1, true) and names.device((word:gsub("[:,;]+$", ""))) ~= device then
            return true
        end
    end
    return false
end

-- Return whether a hash is outside the part of a text that is read.
local function loses_a_hash(text, from, to)
    local rest = text:sub(1, from - 1) .. " " .. text:sub(to + 1)
    return rest:find("<[cC][eE][rR][tT][hH][aA][sS][hH]%d+%s*>%s*[%w+/=][%w+/=][%w+/=][%w+/=]")
end

-- Parse a vpnGroup that is alone in a text.
local function fragment(text, from)
    local _, stop = text:find("</vpnGroup%s*>", from)
    if not stop then
        return nil, NO_END
    elseif text:find("^[^<]*%-%->", stop + 1) then
        return nil, "its vpnGroup may be in a comment, because the end of one follows it"
    elseif loses_a_hash(text, from, stop) then
        return nil, "a certHash is outside its vpnGroup, and it is unknown whether it counts"
    end
    local body = joined(text:sub(from, stop), #text:sub(1, from - 1):match("[^\n]*$"))
    local root = xml.parse("<device>" .. body .. "</device>", cnf.WANTED)
    local group = root and root.children[1]
    if not group then
        return nil, "it is damaged or cut short within its vpnGroup"
    end
    return group
end

--- Read a configuration file from a terminal's output.
-- Returns the same as cnf.read; for everything else nil, and an error if it is known.
---@param name string
---@param content string
function M.read(name, content)
    local text = #content <= cnf.LARGEST and not content:find("^\1\0\2") and markup.text(content)
    text = text and not text:find("\0", 1, true) and cleaned(text)
    if not text or text:find("<!%s*[dDeE]") then
        return nil
    end
    text = markup.without_comments(text)
    local devices, from = beginnings(text, "device")
    local defaults, other = beginnings(text, "Default")
    local groups, group_from = beginnings(text, "vpnGroup")
    from = from or other
    if devices + defaults + groups == 0 then
        return nil
    elseif devices + defaults > 1 or groups > 1 or groups == 1 and from and group_from < from then
        return nil, SEVERAL
    end
    local start = from or group_from
    if header_is_lost(name, text:sub(1, start - 1)) then
        return nil, "its signed header is lost: copy the file itself, in binary mode"
    end
    local file = { device = names.device(name) or names.base_name(name), name = names.base_name(name), kind = "plain" }
    if names_another(text:sub(1, start - 1), file.device) then
        return nil, "it names another phone, so it is unknown whose configuration it is"
    end
    local whole = xml.parse(markup.without_declaration(text), {})
    if whole and not (whole.name == "device" or whole.name == "Default" or whole.name == "vpnGroup") then
        return nil  -- a document of another kind
    end
    local group, problem
    if from then
        local stop = select(2, text:find("</device%s*>", from)) or select(2, text:find("</Default%s*>", from)) or #text
        group, problem = cnf.thorough(joined(text:sub(from, stop), #text:sub(1, from - 1):match("[^\n]*$")))
        if groups == 1 and group_from > stop or loses_a_hash(text, from, stop) then
            return nil, SEVERAL
        end
    else
        group, problem = fragment(text, group_from)
    end
    if group == nil then
        return nil, problem
    elseif not group then
        file.kind = problem or file.kind
        return file
    end
    return cnf.read_group(file, group)
end

return M
